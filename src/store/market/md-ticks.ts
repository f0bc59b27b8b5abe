import type { Client } from 'pg';
import { columnList, MD_TICKS } from '../../core/copy/tables.ts';
import type { WebhookTick } from '../../core/market/webhook-tick.ts';
import type { Micros } from '../../core/time.ts';
import { prepared } from '../postgres/pooler.ts';
import type { RunOnSession } from '../postgres/session.ts';
import { betweenTimes, microsOf, timeOf } from '../postgres/time-sql.ts';
import { inTransaction } from '../postgres/transaction.ts';
import { askWitness, type Witness } from '../postgres/witness.ts';
import { minuteOf, recomputeRanges, type RangeMinute } from './ranges.ts';
import type { TickDataResult } from './tick-data.ts';

const MD_RANGES = { name: 'md_ranges', columns: [{ name: 'symbol' }, { name: 'window' }, { name: 'agg' }] };
const COLUMNS = columnList(MD_TICKS);

/** The rows as arrays, one for each column: $1 symbol, $2 µs, $3 price, $4 volume, $5 source, $6 seq. */
const GIVEN = `SELECT symbol, ${timeOf('us')} AS ts, price, volume, source, seq, at
   FROM unnest($1::text[], $2::bigint[], $3::numeric[], $4::numeric[], $5::text[], $6::bigint[])
     WITH ORDINALITY AS given (symbol, us, price, volume, source, seq, at)`;

/** In the order of the key, so that two writers of the same rows do not deadlock; of equal keys the first is stored. */
const INSERT = `INSERT INTO md_ticks (${COLUMNS}) SELECT ${COLUMNS} FROM (${GIVEN}) given
   ORDER BY symbol, ts, source, seq, at ON CONFLICT DO NOTHING RETURNING symbol, ${microsOf('ts')} AS us`;

/** Ticks of the webhook, on a session that is the caller's. */
export class MdTicksStore {
  readonly #run: RunOnSession;

  constructor(run: RunOnSession) {
    this.#run = run;
  }

  /** As writeMdTicks(). */
  write(ticks: readonly WebhookTick[]): Promise<TickDataResult> {
    return this.#run((client) => writeMdTicks(client, ticks));
  }

  /** Whether md_ticks and md_ranges take rows at the moment: one transaction writes both. */
  witness(): Promise<Witness> {
    const tables = [MD_TICKS, MD_RANGES].map((table) => ({ table, order: null }));
    return this.#run((client) => askWitness(client, tables));
  }
}

/**
 * Writes ticks of the webhook, each once, and recomputes the ranges of the minutes that they are new in: one transaction.
 * The same ticks may be written again at any time. Numbers are compared by value: 1.0 is 1.00.
 *
 * Rejects with the server's error; nothing of the batch is stored then, or that is unknown.
 */
export async function writeMdTicks(client: Client, ticks: readonly WebhookTick[]): Promise<TickDataResult> {
  if (ticks.length === 0) return { stored: 0, known: 0, conflicts: [] };
  return inTransaction(client, async () => {
    const values = columnsOf(ticks);
    const { rows } = await client.query<{ symbol: string; us: string }>({
      ...prepared(client, 'md_ticks_insert'),
      text: INSERT,
      values,
    });
    // a statement of its own: it sees what another writer committed while the insertion waited for it
    const conflicts = rows.length === ticks.length ? [] : await differing(client, ticks, values);
    await recomputeRanges(client, minutesOf(rows));
    return { stored: rows.length, known: ticks.length - rows.length - conflicts.length, conflicts };
  });
}

/** Indices of the ticks whose key is stored with another content. One lookup for each: a join may read all of the table. */
async function differing(
  client: Client,
  ticks: readonly WebhookTick[],
  values: readonly unknown[],
): Promise<number[]> {
  let [from, to] = [ticks[0].ts, ticks[0].ts];
  for (const { ts } of ticks) {
    if (ts < from) from = ts;
    if (ts > to) to = ts;
  }
  const { rows } = await client.query<{ at: string }>(
    `SELECT given.at FROM (${GIVEN}) given CROSS JOIN LATERAL (
       SELECT d.price, d.volume FROM md_ticks d
        WHERE d.symbol = given.symbol AND d.ts = given.ts AND d.source = given.source AND d.seq = given.seq
          AND ${betweenTimes('d.ts', from, to)} OFFSET 0) stored
      WHERE (given.price, given.volume) IS DISTINCT FROM (stored.price, stored.volume) ORDER BY given.at`,
    [...values],
  );
  return rows.map(({ at }) => Number(at) - 1);
}

function columnsOf(ticks: readonly WebhookTick[]): unknown[][] {
  return [
    ticks.map(({ symbol }) => symbol),
    ticks.map(({ ts }) => ts.toString()),
    ticks.map(({ price }) => price),
    ticks.map(({ volume }) => volume),
    ticks.map(({ source }) => source),
    ticks.map(({ seq }) => seq.toString()),
  ];
}

function minutesOf(rows: readonly { symbol: string; us: string }[]): RangeMinute[] {
  const minutes = new Map<string, RangeMinute>();
  for (const { symbol, us } of rows) {
    const start: Micros = minuteOf(BigInt(us));
    minutes.set(`${symbol}|${start}`, { symbol, start });
  }
  return [...minutes.values()];
}
