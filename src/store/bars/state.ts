import { escapeLiteral, type Client } from 'pg';
import type { BarRow } from '../../core/market/bar.ts';
import { intervalName } from '../../core/market/interval.ts';
import type { Contested, KnownSymbol, LateWindow, Resume, SymbolKey } from '../../core/window/step.ts';
import { openRollups, windowEndUs, windowStartUs } from '../../core/window/rollup.ts';
import type { Watermark } from '../../core/window/symbol-windows.ts';
import { formatMicros } from '../../core/time.ts';
import { readBars, type BarRange, type ChangedBar } from './rows.ts';
import type { BarTable } from './sql.ts';
import type { GroupName } from '../bus/partitions.ts';
import { microsOf, timeOf } from '../postgres/time-sql.ts';

/** Which partition of which group. */
export interface BarsPlace {
  name: GroupName;
  held: { partition: number };
}

/** Everything that a new owner of a partition continues from. */
export interface BarsState {
  /** of the last committed transaction */
  step: bigint;
  resume: Resume;
  symbols: KnownSymbol[];
  late: LateWindow[];
}

/** the channel that viewers of bars listen to */
const REVISED_CHANNEL = 'bars_revised';
/** a notification has at most 8,000 bytes, and the longest names take 256 each where JSON escapes every byte of them */
const REVISED_MAX = 16;
/** a replay that was silent for this long is over, and its state is dropped */
const REPLAY_SILENCE = "interval '1 day'";
/** symbols whose rollups are read at once */
const SYMBOLS_READ = 500;

const PLACE = 'topic = $1 AND group_name = $2 AND partition = $3';

/**
 * @param position as its owner committed it
 * @param log the current log on the bus; positions of another log mean nothing in it
 */
export async function loadBarsState(
  client: Client,
  place: BarsPlace,
  position: string | null,
  log: string,
  windowMs: number,
): Promise<BarsState> {
  const at = placeOf(place);
  const { rows } = await client.query<{
    step: string;
    log: string | null;
    open_after: string | null;
    open_count: string;
  }>(`SELECT step, log, open_after, open_count FROM bars_partitions WHERE ${PLACE}`, at);
  const found = rows[0];
  const isSameLog = found?.log === log;
  if (!isSameLog) {
    // the awaited entry is not in this log: the tick consumer has it, or nobody has
    await client.query(`UPDATE bars_late_windows SET "position" = NULL WHERE ${PLACE}`, at);
  }
  return {
    step: BigInt(found?.step ?? 0),
    resume: isSameLog
      ? { position, openAfter: found.open_after, openCount: Number(found.open_count) }
      : { position: null, openAfter: null, openCount: Number(found?.open_count ?? 0) },
    symbols: await readSymbols(client, place, windowMs),
    late: await readLate(client, place, windowMs),
  };
}

/** The transaction before which the partition has read all of contested_minutes. */
export async function readContestedFrom(client: Client, place: BarsPlace): Promise<string> {
  const { rows } = await client.query<{ tx: string }>(
    `SELECT contested_from::text AS tx FROM bars_partitions WHERE ${PLACE}`,
    placeOf(place),
  );
  return rows[0]?.tx ?? '0';
}

export async function writeContestedFrom(client: Client, place: BarsPlace, tx: string): Promise<void> {
  await client.query(`UPDATE bars_partitions SET contested_from = $4::xid8 WHERE ${PLACE}`, [
    ...placeOf(place),
    tx,
  ]);
}

async function readSymbols(client: Client, place: BarsPlace, windowMs: number): Promise<KnownSymbol[]> {
  await client.query(
    `DELETE FROM bars_watermarks WHERE ${PLACE} AND replay_run_id > 0 AND updated_at < now() - ${REPLAY_SILENCE}`,
    placeOf(place),
  );
  const { rows } = await client.query<{
    run: string;
    provider: string;
    symbol: string;
    max_us: string;
    closed_us: string;
  }>(
    `SELECT replay_run_id AS run, provider, symbol, ${microsOf('max_ts')} AS max_us, ${microsOf('closed_end')} AS closed_us
       FROM bars_watermarks WHERE ${PLACE}`,
    placeOf(place),
  );
  const known = rows.map((row) => ({
    runId: BigInt(row.run),
    provider: row.provider,
    symbol: row.symbol,
    maxUs: Number(row.max_us),
    closedEndUs: Number(row.closed_us),
  }));
  const symbols: KnownSymbol[] = [];
  for (let from = 0; from < known.length; from += SYMBOLS_READ) {
    const part = known.slice(from, from + SYMBOLS_READ);
    const live = await withRollups(client, 'bars_ohlcv', part.filter(isLive), windowMs);
    const replayed = await withRollups(
      client,
      'bars_replay',
      part.filter((each) => !isLive(each)),
      windowMs,
    );
    symbols.push(...live, ...replayed);
  }
  return symbols;
}

function isLive({ runId }: SymbolKey): boolean {
  return runId === 0n;
}

async function withRollups(
  client: Client,
  table: BarTable,
  symbols: readonly (SymbolKey & Watermark)[],
  windowMs: number,
): Promise<KnownSymbol[]> {
  const ranges = symbols.flatMap((symbol, index) =>
    openRollups(symbol.closedEndUs, windowMs).map(({ intervalMs, startUs }) => ({
      index,
      range: { ...symbol, intervalMs, startUs, endUs: windowEndUs(startUs, intervalMs) } satisfies BarRange,
    })),
  );
  const found = await readBars(
    client,
    table,
    ranges.map(({ range }) => range),
  );
  const rollups: BarRow[][] = symbols.map(() => []);
  for (const [at, { index }] of ranges.entries()) rollups[index].push(...found[at]);
  return symbols.map((symbol, index) => ({ ...symbol, rollups: rollups[index] }));
}

/** SQL that stores watermarks. */
export function watermarksStatement(
  place: BarsPlace,
  watermarks: readonly (SymbolKey & Watermark)[],
): string {
  const rows = watermarks.map(({ runId, provider, symbol, maxUs, closedEndUs }) => ({
    run: runId.toString(),
    provider,
    symbol,
    max_us: maxUs,
    closed_us: closedEndUs,
  }));
  return `INSERT INTO bars_watermarks AS w (topic, group_name, partition, replay_run_id, provider, symbol, max_ts, closed_end)
     SELECT ${placeLiterals(place)}, k.run, k.provider, k.symbol, ${timeOf('k.max_us')}, ${timeOf('k.closed_us')}
       FROM json_to_recordset(${escapeLiteral(JSON.stringify(rows))}::json)
         AS k (run bigint, provider text, symbol text, max_us bigint, closed_us bigint)
     ON CONFLICT (topic, group_name, partition, replay_run_id, provider, symbol) DO UPDATE
       SET max_ts = excluded.max_ts, closed_end = excluded.closed_end, updated_at = now()`;
}

/** SQL that marks closed windows. If a window is marked twice, the later mark decides what is waited for. */
export function markStatement(place: BarsPlace, late: readonly LateWindow[]): string {
  const windows = [...new Map(late.map((each) => [lateId(each), each])).values()];
  return `INSERT INTO bars_late_windows AS l (topic, group_name, partition, provider, symbol, ts, ts_end, "position", contested)
     SELECT ${placeLiterals(place)}, k.provider, k.symbol, ${timeOf('k."startUs"')}, ${timeOf('k."endUs"')}, k."position", k.contested
       FROM json_to_recordset(${escapeLiteral(JSON.stringify(windows))}::json)
         AS k (provider text, symbol text, "startUs" bigint, "endUs" bigint, "position" text, contested text)
     ON CONFLICT (topic, group_name, partition, provider, symbol, ts, ts_end) DO UPDATE SET "position" = excluded."position",
       contested = CASE WHEN l.contested IS NOT DISTINCT FROM excluded.contested THEN l.contested ELSE 'too' END`;
}

/** Removes marks that are done, unless a later event arrived meanwhile. */
export async function unmarkLate(
  client: Client,
  place: BarsPlace,
  late: readonly LateWindow[],
): Promise<void> {
  await client.query(
    `DELETE FROM bars_late_windows l
      USING unnest($4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::text[]) AS k (provider, symbol, start_us, end_us, position)
      WHERE l.topic = $1 AND l.group_name = $2 AND l.partition = $3 AND l.provider = k.provider AND l.symbol = k.symbol
        AND l.ts = ${timeOf('k.start_us')} AND l.ts_end = ${timeOf('k.end_us')} AND l."position" IS NOT DISTINCT FROM k.position`,
    [
      ...placeOf(place),
      late.map(({ provider }) => provider),
      late.map(({ symbol }) => symbol),
      late.map(({ startUs }) => startUs),
      late.map(({ endUs }) => endUs),
      late.map(({ position }) => position),
    ],
  );
}

/** Marks; those of windows of another length also mark the windows of this length that contain them. */
async function readLate(client: Client, place: BarsPlace, windowMs: number): Promise<LateWindow[]> {
  const late = await readMarks(client, place);
  const others = late
    .filter(({ startUs, endUs }) => endUs - startUs !== windowMs * 1000)
    .flatMap((window) => windowsWithin(window, windowMs));
  if (others.length === 0) return late;
  await client.query(markStatement(place, others));
  return readMarks(client, place);
}

function windowsWithin(window: LateWindow, windowMs: number): LateWindow[] {
  const windows: LateWindow[] = [];
  let startUs = windowStartUs(window.startUs, windowMs);
  while (startUs < window.endUs) {
    const endUs = windowEndUs(startUs, windowMs);
    windows.push({ ...window, startUs, endUs });
    startUs = endUs;
  }
  return windows;
}

async function readMarks(client: Client, place: BarsPlace): Promise<LateWindow[]> {
  const { rows } = await client.query<{
    provider: string;
    symbol: string;
    start_us: string;
    end_us: string;
    position: string | null;
    contested: Contested | null;
  }>(
    `SELECT provider, symbol, ${microsOf('ts')} AS start_us, ${microsOf('ts_end')} AS end_us, "position", contested
       FROM bars_late_windows WHERE ${PLACE} ORDER BY created_at`,
    placeOf(place),
  );
  return rows.map(({ provider, symbol, start_us: startUs, end_us: endUs, position, contested }) => ({
    provider,
    symbol,
    startUs: Number(startUs),
    endUs: Number(endUs),
    position,
    ...(contested === null ? {} : { contested }),
  }));
}

export function lateId({ provider, symbol, startUs, endUs }: LateWindow): string {
  return `${provider}|${symbol}|${startUs}|${endUs}`;
}

/** Notifies, at the commit, which final bars were corrected. One notification per transaction; the details are in bars_history. */
export async function notifyRevised(client: Client, corrected: readonly ChangedBar[]): Promise<void> {
  if (corrected.length === 0) return;
  const bars = corrected.slice(0, REVISED_MAX).map(({ row, revision }) => ({
    provider: row.provider,
    symbol: row.symbol,
    interval: intervalName(row.intervalMs),
    ts: formatMicros(BigInt(row.startUs)),
    revision,
  }));
  await client.query('SELECT pg_notify($1, $2)', [
    REVISED_CHANNEL,
    JSON.stringify({ corrected: corrected.length, bars }),
  ]);
}

/** For statements that are sent together: those cannot have parameters. */
function placeLiterals(place: BarsPlace): string {
  const [topic, group, partition] = placeOf(place);
  return `${escapeLiteral(topic)}, ${escapeLiteral(group)}, ${partition}`;
}

function placeOf({ name, held }: BarsPlace): [string, string, number] {
  return [name.topic, name.group, held.partition];
}
