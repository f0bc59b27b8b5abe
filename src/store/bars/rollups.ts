import type { Client } from 'pg';
import { barId, mergeBars, type BarRow } from '../../core/market/bar.ts';
import type { LatePolicy } from '../../core/window/rules.ts';
import type { SymbolKey } from '../../core/window/step.ts';
import { finerOf, rollupsOf, windowEndUs, windowStartUs } from '../../core/window/rollup.ts';
import { readBars, replaceBars, type BarRange, type ChangedBar } from './rows.ts';
import type { BarTable } from './sql.ts';
import { barOfTicks } from './from-ticks.ts';

/** A rollup that must be rebuilt. */
interface RollupKey extends Pick<BarRow, 'runId' | 'provider' | 'symbol' | 'intervalMs' | 'startUs'> {
  /** to the finer bars, since the rollup was built from them */
  ticksAdded: number;
}

export interface RemergeOptions {
  table: BarTable;
  windowMs: number;
  late: LatePolicy;
  /** the close of each symbol as stored, µs; null: unknown */
  closedEndUs: (key: SymbolKey) => number | null;
}

/**
 * Rebuilds rollups from the stored finer bars, finest first: those named, and those above what changed. A correction
 * cannot be subtracted from a maximum, so stored rollups are never patched. Returns what changed.
 */
export async function remergeRollups(
  client: Client,
  options: RemergeOptions,
  changedWindows: readonly ChangedBar[],
  named: readonly BarRow[],
): Promise<ChangedBar[]> {
  const changed: ChangedBar[] = [];
  let below = changedWindows;
  for (const intervalMs of rollupsOf(options.windowMs)) {
    const keys = new Map<string, RollupKey>();
    const keyOf = ({ runId, provider, symbol, startUs: innerUs }: BarRow): RollupKey => {
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
    const level = await remergeLevel(client, options, intervalMs, [...keys.values()]);
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
  windows: readonly Pick<RollupKey, 'runId' | 'provider' | 'symbol' | 'startUs'>[],
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

async function remergeLevel(
  client: Client,
  { table, windowMs, late, closedEndUs }: RemergeOptions,
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
  for (const [at, key] of keys.entries()) {
    const endUs = windowEndUs(key.startUs, intervalMs);
    const closed = closedEndUs(key);
    let bar = mergeBars(finer[at].map((row) => row.bar));
    const had = stored[at][0]?.bar.tickCount ?? 0;
    // what a step itself adds to finer bars is already in its rollup
    const added = late === 'revise' ? key.ticksAdded : 0;
    // it held more than the finer bars did: windows of another length were merged into it before the length was changed
    if (table === 'bars_ohlcv' && finerMs === windowMs && (bar?.tickCount ?? 0) - added < had) {
      bar = (await barOfTicks(client, { ...key, endUs: Math.min(endUs, closed ?? endUs) })) ?? bar;
    }
    if (bar === null) continue;
    rows.push({
      ...key,
      bar,
      isFinal: closed === null || endUs <= closed,
      lastSeq: finer[at].at(-1)?.lastSeq ?? 0n,
    });
  }
  return replaceBars(client, table, rows, 'not_poorer');
}
