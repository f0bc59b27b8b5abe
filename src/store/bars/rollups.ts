import type { Client } from 'pg';
import { barId, mergeBars, type BarRow } from '../../core/market/bar.ts';
import type { LatePolicy } from '../../core/window/rules.ts';
import type { SymbolKey } from '../../core/window/step.ts';
import { finerOf, rollupsOf, windowEndUs, windowStartUs } from '../../core/window/rollup.ts';
import { readBars, replaceBars, type BarRange, type ChangedBar } from './rows.ts';
import type { BarTable } from './sql.ts';
import { barOfTicks, countTicks } from './from-ticks.ts';

export type SeriesWindow = Pick<BarRow, 'runId' | 'provider' | 'symbol' | 'startUs'>;
/** A rollup of that length, by any time in it. */
export type NamedRollup = SeriesWindow & Pick<BarRow, 'intervalMs'>;

/** A rollup that must be rebuilt. */
interface RollupKey extends NamedRollup {
  /** to the finer bars, since the rollup was built from them */
  ticksAdded: number;
}

/** What decides how a rollup is merged. */
export interface RemergeOptions {
  table: BarTable;
  windowMs: number;
  late: LatePolicy;
  /** the close of each symbol as stored, µs; null: unknown */
  closedEndUs: (key: SymbolKey) => number | null;
  /** rollups of which windows may have no bar although tick_data has their ticks; default: none */
  mayLack?: (key: NamedRollup) => boolean;
}

/**
 * Rebuilds rollups from the stored finer bars, finest first: those named, and those above what changed. A correction
 * cannot be subtracted from a maximum, so stored rollups are never patched. Returns what changed.
 */
export async function remergeRollups(
  client: Client,
  options: RemergeOptions,
  changedWindows: readonly ChangedBar[],
  named: readonly NamedRollup[],
): Promise<ChangedBar[]> {
  const changed: ChangedBar[] = [];
  let below = changedWindows;
  for (const intervalMs of rollupsOf(options.windowMs)) {
    const keys = new Map<string, RollupKey>();
    const keyOf = ({ runId, provider, symbol, startUs: innerUs }: SeriesWindow): RollupKey => {
      const startUs = windowStartUs(innerUs, intervalMs);
      const key = { runId, provider, symbol, intervalMs, startUs, ticksAdded: 0 };
      const id = `${runId}|${barId(key)}`;
      const found = keys.get(id) ?? key;
      keys.set(id, found);
      return found;
    };
    for (const { row, ticksAdded } of below) keyOf(row).ticksAdded += ticksAdded;
    for (const row of named) if (row.intervalMs === intervalMs) keyOf(row);
    if (keys.size === 0) continue;
    const level = await remergeKeys(client, options, intervalMs, [...keys.values()]);
    changed.push(...level);
    below = level;
  }
  return changed;
}

/** The stored rollups of all lengths that hold these windows. */
export async function rollupsAbove(
  client: Client,
  table: BarTable,
  windowMs: number,
  windows: readonly SeriesWindow[],
): Promise<BarRow[]> {
  const keys = new Map<string, BarRange>();
  for (const { runId, provider, symbol, startUs: windowUs } of windows) {
    for (const intervalMs of rollupsOf(windowMs)) {
      const startUs = windowStartUs(windowUs, intervalMs);
      const key = { runId, provider, symbol, intervalMs, startUs, endUs: windowEndUs(startUs, intervalMs) };
      keys.set(`${runId}|${barId(key)}`, key);
    }
  }
  return (await readBars(client, table, [...keys.values()])).flat();
}

/** Rebuilds rollups of one length; the finer ones are right. */
export function remergeLevel(
  client: Client,
  options: RemergeOptions,
  intervalMs: number,
  startsUs: readonly SeriesWindow[],
): Promise<ChangedBar[]> {
  const keys = startsUs.map((key) => ({ ...key, intervalMs, ticksAdded: 0 }));
  return remergeKeys(client, options, intervalMs, keys);
}

async function remergeKeys(
  client: Client,
  { table, windowMs, late, closedEndUs, mayLack = () => false }: RemergeOptions,
  intervalMs: number,
  keys: readonly RollupKey[],
): Promise<ChangedBar[]> {
  const finerMs = finerOf(intervalMs, windowMs);
  const rangesOf = (length: number): BarRange[] =>
    keys.map((key) => ({
      ...key,
      intervalMs: length,
      endUs: windowEndUs(key.startUs, intervalMs),
    }));
  const finer = await readBars(client, table, rangesOf(finerMs));
  const stored = await readBars(client, table, rangesOf(intervalMs));
  const rows: BarRow[] = [];
  const poorer: BarRow[] = [];
  for (const [at, key] of keys.entries()) {
    const endUs = windowEndUs(key.startUs, intervalMs);
    const closed = closedEndUs(key);
    let bar = mergeBars(finer[at].map((row) => row.bar));
    const had = stored[at][0]?.bar.tickCount ?? 0;
    // what a step itself adds to finer bars is already in its rollup
    const added = late === 'revise' ? key.ticksAdded : 0;
    const span = { ...key, endUs: Math.min(endUs, closed ?? endUs) };
    const merged = bar?.tickCount ?? 0;
    // it held more than the finer bars did: windows of another length were merged into it before the length was changed
    const isShort = table === 'bars_ohlcv' && finerMs === windowMs && merged - added < had;
    if (isShort || (mayLack(key) && (await countTicks(client, span)) > merged)) {
      bar = (await barOfTicks(client, span)) ?? bar;
    }
    if (bar === null) continue;
    // it lost exactly what the finer bars lost: ticks that are not stored
    const hasLost = bar.tickCount < had && bar.tickCount >= had + Math.min(0, key.ticksAdded);
    (hasLost ? poorer : rows).push({
      ...key,
      bar,
      isFinal: closed === null || endUs <= closed,
      lastSeq: finer[at].at(-1)?.lastSeq ?? 0n,
    });
  }
  return [
    ...(await replaceBars(client, table, rows, 'not_poorer')),
    ...(await replaceBars(client, table, poorer, 'differs')),
  ];
}
