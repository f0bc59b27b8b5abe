import type { Client } from 'pg';
import type { BarRow } from '../../core/market/bar.ts';
import { rollupsOf, windowEndUs, windowStartUs } from '../../core/window/rollup.ts';
import type { GroupName } from '../bus/partitions.ts';
import { recordContested } from '../market/contested.ts';
import { isPooled } from '../postgres/pooler.ts';
import { microsOf, timeOf } from '../postgres/time-sql.ts';
import { inTransaction } from '../postgres/transaction.ts';
import { barsOfTicks, type TickWindow } from './from-ticks.ts';
import { remergeLevel } from './rollups.ts';
import { readBars, replaceBars, type ChangedBar } from './rows.ts';
import { notifyRevised } from './state.ts';

/** Whose bars are rebuilt, and by which rules. */
export interface RebuildPlace {
  /** of the micro-batcher, which may be running */
  name: GroupName;
  /** of the symbol */
  partition: number;
  windowMs: number;
}

/** What became of the bars of a range. */
export interface Rebuilt {
  /** ticks read */
  ticks: number;
  /** windows with ticks */
  windows: number;
  /** bars that were missing, rollups included */
  made: number;
  /** final bars with a new revision, rollups included */
  revised: number;
  /** bars that hold more ticks than tick_data; they stay */
  kept: number;
}

/** rows of one transaction: the micro-batcher of the partition waits for it */
const ROWS_MAX = 500;
/** rollups of one transaction, each merged from up to some hundred bars */
const ROLLUPS_MAX = 100;

/**
 * Marks the run as this session's, until it ends; false: another session has it. Behind a pooler it cannot be marked: two
 * processes may then do the same work.
 */
export async function lockRun(client: Client, id: number): Promise<boolean> {
  if (isPooled(client)) return true;
  const { rows } = await client.query<{ locked: boolean }>(
    "SELECT pg_try_advisory_lock('job_runs'::regclass::oid::bigint::bit(32)::int, $1) AS locked",
    [id],
  );
  return rows[0]?.locked ?? false;
}

/** Symbols of a provider with ticks in [startUs, endUs), in order. */
export async function symbolsWithTicks(
  client: Client,
  provider: string,
  startUs: number,
  endUs: number,
): Promise<string[]> {
  const { rows } = await client.query<{ symbol: string }>(
    // one look at the key for each symbol
    `WITH RECURSIVE s (symbol) AS (
       (SELECT symbol FROM tick_data WHERE provider = $1 ORDER BY symbol LIMIT 1)
       UNION ALL
       SELECT (SELECT t.symbol FROM tick_data t WHERE t.provider = $1 AND t.symbol > s.symbol ORDER BY t.symbol LIMIT 1)
         FROM s WHERE s.symbol IS NOT NULL)
     SELECT symbol FROM s WHERE symbol IS NOT NULL AND EXISTS (
       SELECT FROM tick_data t WHERE t.provider = $1 AND t.symbol = s.symbol AND t.ts >= ${timeOf('$2')} AND t.ts < ${timeOf('$3')})
     ORDER BY symbol`,
    [provider, startUs, endUs],
  );
  return rows.map(({ symbol }) => symbol);
}

/** Time of the first tick at or after startUs and before endUs, µs; null: there is none. */
export async function nextTickUs(client: Client, range: TickWindow): Promise<number | null> {
  const { provider, symbol, startUs, endUs } = range;
  const { rows } = await client.query<{ us: string }>(
    `SELECT ${microsOf('ts')} AS us FROM tick_data
      WHERE provider = $1 AND symbol = $2 AND ts >= ${timeOf('$3')} AND ts < ${timeOf('$4')} ORDER BY ts LIMIT 1`,
    [provider, symbol, startUs, endUs],
  );
  return rows[0] === undefined ? null : Number(rows[0].us);
}

/** Up to where the group has closed the symbol's windows, µs; null: it never saw the symbol. */
export async function closedEndOf(
  client: Client,
  { topic, group }: GroupName,
  provider: string,
  symbol: string,
): Promise<number | null> {
  const { rows } = await client.query<{ us: string | null }>(
    `SELECT ${microsOf('max(closed_end)')} AS us FROM bars_watermarks
      WHERE topic = $1 AND group_name = $2 AND replay_run_id = 0 AND provider = $3 AND symbol = $4`,
    [topic, group, provider, symbol],
  );
  return rows[0]?.us == null ? null : Number(rows[0].us);
}

/**
 * Makes the bars of a range of closed windows from tick_data, and the rollups above them. A bar never loses ticks. Each
 * transaction excludes the steps of the partition's owner; an owner that has a rollup of the range open merges it again,
 * as the minutes that changed are contested then. May be repeated, and interrupted, at any time.
 *
 * @param range begins and ends with windows
 * @param closedEndUs windows before it are closed, µs
 * @param onWindows called with the time up to which windows are written, µs
 */
export async function rebuildRange(
  client: Client,
  place: RebuildPlace,
  range: TickWindow,
  closedEndUs: number,
  onWindows: (upToUs: number) => void = () => {},
): Promise<Rebuilt> {
  const { provider, symbol } = range;
  const rebuilt: Rebuilt = { ticks: 0, windows: 0, made: 0, revised: 0, kept: 0 };
  const starts: number[] = [];
  let rows: BarRow[] = [];
  const flush = async (): Promise<void> => {
    const last = rows.at(-1);
    if (last === undefined) return;
    count(rebuilt, await writeWindows(client, place, rows, closedEndUs));
    onWindows(windowEndUs(last.startUs, place.windowMs));
    rows = [];
  };
  for await (const { startUs, bar } of barsOfTicks(client, range, place.windowMs)) {
    rebuilt.ticks += bar.tickCount;
    rebuilt.windows += 1;
    starts.push(startUs);
    const intervalMs = place.windowMs;
    rows.push({ runId: 0n, provider, symbol, intervalMs, startUs, bar, isFinal: true, lastSeq: 0n });
    if (rows.length === ROWS_MAX) await flush();
  }
  await flush();
  for (const intervalMs of rollupsOf(place.windowMs)) {
    const keys = [...new Set(starts.map((startUs) => windowStartUs(startUs, intervalMs)))];
    for (let at = 0; at < keys.length; at += ROLLUPS_MAX) {
      const part = keys.slice(at, at + ROLLUPS_MAX);
      count(rebuilt, {
        changed: await writeRollups(client, place, range, intervalMs, part, closedEndUs),
        kept: 0,
      });
    }
  }
  return rebuilt;
}

interface Written {
  changed: ChangedBar[];
  kept: number;
}

function count(rebuilt: Rebuilt, { changed, kept }: Written): void {
  const revised = changed.filter(({ revision }) => revision > 0).length;
  rebuilt.revised += revised;
  rebuilt.made += changed.length - revised;
  rebuilt.kept += kept;
}

function writeWindows(
  client: Client,
  place: RebuildPlace,
  rows: readonly BarRow[],
  closedEndUs: number,
): Promise<Written> {
  return inTransaction(client, async () => {
    await excludeOwner(client, place);
    const changed = await replaceBars(client, 'bars_ohlcv', rows, 'not_poorer');
    await contestOpen(client, changed, closedEndUs);
    await notifyRevised(
      client,
      changed.filter(({ revision }) => revision > 0),
    );
    const written = new Set(changed.map(({ row }) => row.startUs));
    const others = rows.filter(({ startUs }) => !written.has(startUs));
    const stored = await readBars(
      client,
      'bars_ohlcv',
      others.map((row) => ({ ...row, endUs: row.startUs + 1 })),
    );
    const kept = others.filter((row, at) => (stored[at][0]?.bar.tickCount ?? 0) > row.bar.tickCount).length;
    return { changed, kept };
  });
}

function writeRollups(
  client: Client,
  place: RebuildPlace,
  range: TickWindow,
  intervalMs: number,
  startsUs: readonly number[],
  knownEndUs: number,
): Promise<ChangedBar[]> {
  const { provider, symbol } = range;
  return inTransaction(client, async () => {
    await excludeOwner(client, place);
    // it may have closed more meanwhile
    const closedEndUs = (await closedEndOf(client, place.name, provider, symbol)) ?? knownEndUs;
    const changed = await remergeLevel(
      client,
      {
        table: 'bars_ohlcv',
        windowMs: place.windowMs,
        late: 'revise',
        closedEndUs: () => closedEndUs,
        // beyond the range windows may never have had a bar
        mayLack: ({ startUs }) => startUs < range.startUs || windowEndUs(startUs, intervalMs) > range.endUs,
      },
      intervalMs,
      startsUs.map((startUs) => ({ runId: 0n, provider, symbol, startUs })),
    );
    await notifyRevised(
      client,
      changed.filter(({ revision }) => revision > 0),
    );
    return changed;
  });
}

/** Until the end of the transaction: the owner's steps take the same row first. */
async function excludeOwner(client: Client, { name, partition }: RebuildPlace): Promise<void> {
  await client.query(
    'SELECT FROM bars_partitions WHERE topic = $1 AND group_name = $2 AND partition = $3 FOR UPDATE',
    [name.topic, name.group, partition],
  );
}

/** Changed windows of the day that is not closed: their rollups are in the owner's memory, without the change. */
async function contestOpen(
  client: Client,
  changed: readonly ChangedBar[],
  closedEndUs: number,
): Promise<void> {
  const longestMs = Math.max(...rollupsOf(60_000));
  const openFromUs = windowStartUs(closedEndUs, longestMs);
  const open = changed.filter(({ row }) => row.startUs >= openFromUs);
  if (open.length === 0) return;
  await recordContested(
    client,
    open.map(({ row: { provider, symbol, startUs } }) => ({
      provider,
      symbol,
      srcTs: BigInt(startUs),
      isMissing: false,
    })),
  );
}
