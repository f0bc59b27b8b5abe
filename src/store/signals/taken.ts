import type { Client } from 'pg';
import type { StoredKeys, SymbolState, UnsureTick } from '../../core/signal/partition-rows.ts';
import type { Primed } from '../../core/signal/symbol-rows.ts';
import type { GroupName } from '../bus/partitions.ts';
import { betweenTimes, microsOf, timeOf } from '../postgres/time-sql.ts';

/** Keys of ticks that took part, within the transaction of the states that know them no more. */
export async function writeKeys(
  client: Client,
  { topic, group }: GroupName,
  symbols: readonly SymbolState[],
): Promise<void> {
  const rows = symbols.flatMap(({ provider, symbol, primed, blocks = [] }) =>
    blocks.map((block) => ({ provider, symbol, life: lifeOf(primed), ...block })),
  );
  if (rows.length === 0) return;
  await client.query(
    `INSERT INTO feature_keys (topic, group_name, provider, symbol, life, ts, keys)
     SELECT $1, $2, k.provider, k.symbol, k.life, ${timeOf('k.us')}, k.keys
       FROM unnest($3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::bytea[]) AS k (provider, symbol, life, us, keys)`,
    [
      topic,
      group,
      rows.map(({ provider }) => provider),
      rows.map(({ symbol }) => symbol),
      rows.map(({ life }) => life.toString()),
      rows.map(({ lastUs }) => lastUs),
      rows.map(({ keys }) => Buffer.from(keys.buffer, keys.byteOffset, keys.byteLength)),
    ],
  );
}

interface Found {
  at: number;
  is_primed: boolean;
  block_us: string | null;
}

/** Of each tick, in their order, what is stored that can have its key. A thousand of them at most: a block has some KB. */
export async function readStoredKeys(
  client: Client,
  { topic, group }: GroupName,
  ticks: readonly UnsureTick[],
): Promise<StoredKeys[]> {
  if (ticks.length === 0) return [];
  const lives = ticks.map(({ primed }) => lifeOf(primed).toString());
  const times = ticks.map(({ tsUs }) => tsUs);
  // one look into tick_data for each, between constant times: a join may read all of it
  const { rows } = await client.query<Found>(
    `SELECT k.at::int, ${microsOf('b.ts')} AS block_us, p.is_primed IS TRUE AS is_primed
       FROM unnest($3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::text[])
         WITH ORDINALITY AS k (provider, symbol, us, seq, life, from_us, before_us, seen, at)
       LEFT JOIN LATERAL (
         SELECT f.ts FROM feature_keys f
          WHERE f.topic = $1 AND f.group_name = $2 AND f.provider = k.provider AND f.symbol = k.symbol AND f.life = k.life
            AND f.ts >= ${timeOf('k.us')} ORDER BY f.ts LIMIT 1) b ON true
       LEFT JOIN LATERAL (
         SELECT true AS is_primed FROM tick_data d
          WHERE k.us >= k.from_us AND k.us < k.before_us AND d.provider = k.provider AND d.symbol = k.symbol
            AND d.ts = ${timeOf('k.us')} AND d.seq = k.seq AND pg_visible_in_snapshot(d.tx, k.seen::pg_snapshot)
            AND ${betweenTimes('d.ts', BigInt(Math.min(...times)), BigInt(Math.max(...times)))} OFFSET 0) p ON true
      ORDER BY k.at`,
    [
      topic,
      group,
      ticks.map(({ provider }) => provider),
      ticks.map(({ symbol }) => symbol),
      times,
      ticks.map(({ seq }) => seq.toString()),
      lives,
      ticks.map(({ anchorUs }) => (Number.isNaN(anchorUs) ? null : anchorUs)),
      ticks.map(({ primed }) => primed?.beforeUs ?? null),
      ticks.map(({ primed }) => primed?.seen ?? null),
    ],
  );
  const nameOf = ({ at, block_us: us }: Found): string =>
    [ticks[at - 1].provider, ticks[at - 1].symbol, lives[at - 1], us].join('|');
  const wanted = new Map(
    rows
      .filter((row) => !row.is_primed && row.block_us !== null)
      .map((row) => [nameOf(row), { ...ticks[row.at - 1], life: lives[row.at - 1], us: row.block_us }]),
  );
  const blocks = await readBlocks(client, { topic, group }, [...wanted.values()]);
  const byName = new Map([...wanted.keys()].map((name, at) => [name, blocks[at]]));
  return rows.map((row) => ({ isPrimed: row.is_primed, block: byName.get(nameOf(row)) ?? null }));
}

interface BlockName {
  provider: string;
  symbol: string;
  life: string;
  us: string | null;
}

/** In their order; null: retention has just removed it. */
async function readBlocks(
  client: Client,
  { topic, group }: GroupName,
  names: readonly BlockName[],
): Promise<(Uint8Array | null)[]> {
  if (names.length === 0) return [];
  const { rows } = await client.query<{ keys: Buffer | null }>(
    `SELECT f.keys
       FROM unnest($3::text[], $4::text[], $5::bigint[], $6::bigint[]) WITH ORDINALITY AS k (provider, symbol, life, us, at)
       LEFT JOIN feature_keys f ON f.topic = $1 AND f.group_name = $2 AND f.provider = k.provider AND f.symbol = k.symbol
         AND f.life = k.life AND f.ts = ${timeOf('k.us')}
      ORDER BY k.at`,
    [
      topic,
      group,
      names.map(({ provider }) => provider),
      names.map(({ symbol }) => symbol),
      names.map(({ life }) => life),
      names.map(({ us }) => us),
    ],
  );
  return rows.map(({ keys }) => keys);
}

/**
 * Features that began anew, with what was stored then, know nothing of keys from before: no two beginnings of which states were
 * stored have the same next transaction id.
 */
function lifeOf(primed: Primed | null): bigint {
  return primed === null ? 0n : BigInt(primed.seen.split(':')[1]);
}
