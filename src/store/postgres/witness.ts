import { DatabaseError, type Client } from 'pg';
import { columnList } from '../../core/copy/tables.ts';
import { beginWriting } from './pooler.ts';

/**
 * Whether tables take rows at the moment. passes: a row that is stored, written once more, gets as far as the check for
 * duplicates; fails: it is refused for another reason, so the fault is not that of a row; none: nothing is stored yet.
 */
export type Witness = 'passes' | 'fails' | 'none';

interface NamedTable {
  name: string;
  columns: readonly { name: string }[];
}

export interface WitnessTable {
  table: NamedTable;
  /** ORDER BY of the row to take, null for any */
  order: string | null;
}

const UNIQUE_VIOLATION = '23505';

/**
 * Asks each table in a transaction of its own that is rolled back. A refused row is its own fault only where another one
 * passes (core/retry.ts). Rejects with the connection's error.
 */
export async function askWitness(client: Client, tables: readonly WitnessTable[]): Promise<Witness> {
  let witness: Witness = 'passes';
  for (const { table, order } of tables) {
    const of = await askOne(client, table, order);
    if (of === 'fails') return 'fails';
    if (of === 'none') witness = 'none';
  }
  return witness;
}

async function askOne(client: Client, table: NamedTable, order: string | null): Promise<Witness> {
  const columns = columnList(table);
  await client.query(beginWriting(client).join('; '));
  try {
    const { rowCount } = await client.query(
      `INSERT INTO ${table.name} (${columns}) SELECT ${columns} FROM ${table.name} ${order === null ? '' : `ORDER BY ${order}`} LIMIT 1`,
    );
    return rowCount === 0 ? 'none' : 'passes';
  } catch (error) {
    if (!(error instanceof DatabaseError)) throw error;
    return error.code === UNIQUE_VIOLATION ? 'passes' : 'fails';
  } finally {
    await client.query('ROLLBACK').catch(() => {}); // of a lost connection: its error was reported
  }
}
