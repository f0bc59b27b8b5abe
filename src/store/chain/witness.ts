import type { Client } from 'pg';
import { PROOFS, TICKS, TRANSACTIONS } from '../../core/copy/tables.ts';
import { askWitness, type Witness } from '../postgres/witness.ts';

/** Whether the tables that a tick's rows go into take the rows of another tick at the moment. */
export function chainWitness(client: Client, hasTransactions: boolean): Promise<Witness> {
  return askWitness(client, [
    { table: TICKS, order: 'timestamp DESC, tick_number DESC' },
    { table: PROOFS, order: 'tick_number DESC' },
    ...(hasTransactions
      ? [{ table: TRANSACTIONS, order: 'tick_timestamp DESC, tick_number DESC, sequence_number DESC' }]
      : []),
  ]);
}
