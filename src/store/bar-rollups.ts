import type { Client } from 'pg';
import { mergeBars, type BarRow } from '../core/market/bar.ts';
import { barId, type SymbolKey } from '../core/window/partition-windows.ts';
import { finerOf, rollupsOf, windowEndUs, windowStartUs } from '../core/window/rollup.ts';
import { readBars, replaceBars, type BarRange, type ChangedBar } from './bar-rows.ts';
import type { BarTable } from './bar-sql.ts';
import { barOfTicks } from './bar-ticks.ts';

/** A rollup that must be merged anew. */
type RollupKey = Pick<BarRow, 'runId' | 'provider' | 'symbol' | 'intervalMs' | 'startUs'>;

export interface RemergeOptions {
  table: BarTable;
  windowMs: number;
  /** what is closed of a symbol as far as it is stored, µs; null: unknown */
  closedEndUs: (key: SymbolKey) => number | null;
}

/**
 * Merges rollups anew from the finer bars that are stored, from the finest on: those named, and those above what changed.
 * A sum cannot be taken back out of a maximum, so a correction is never added to what is there. Returns what changed.
 */
export async function remergeRollups(
  client: Client,
  options: RemergeOptions,
  changedWindows: readonly BarRow[],
  named: readonly BarRow[],
): Promise<ChangedBar[]> {
  const changed: ChangedBar[] = [];
  let below: readonly BarRow[] = changedWindows;
  for (const intervalMs of rollupsOf(options.windowMs)) {
    const keys = new Map<string, RollupKey>();
    for (const { runId, provider, symbol, startUs } of below) {
      const key = { runId, provider, symbol, intervalMs, startUs: windowStartUs(startUs, intervalMs) };
      keys.set(`${runId}|${barId(key)}`, key);
    }
    for (const key of named) if (key.intervalMs === intervalMs) keys.set(`${key.runId}|${barId(key)}`, key);
    if (keys.size === 0) continue;
    const level = await remergeLevel(client, options, intervalMs, [...keys.values()]);
    changed.push(...level);
    below = level.map(({ row }) => row);
  }
  return changed;
}

async function remergeLevel(
  client: Client,
  { table, windowMs, closedEndUs }: RemergeOptions,
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
    let bar = mergeBars(finer[at].map((row) => row.bar));
    const had = stored[at][0]?.bar.tickCount ?? 0;
    // windows of another length were merged into it before the length was changed: its ticks are asked themselves
    if (table === 'bars_ohlcv' && finerMs === windowMs && (bar?.tickCount ?? 0) < had) {
      bar = (await barOfTicks(client, { ...key, endUs })) ?? bar;
    }
    if (bar === null) continue;
    const closed = closedEndUs(key);
    rows.push({
      ...key,
      bar,
      isFinal: closed === null || endUs <= closed,
      lastSeq: finer[at].at(-1)?.lastSeq ?? 0n,
    });
  }
  return replaceBars(client, table, rows, 'not_poorer');
}
