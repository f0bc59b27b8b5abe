import type { Client } from 'pg';
import type { BarRow } from '../../core/market/bar.ts';
import type { LateWindow, Resume } from '../../core/window/step.ts';
import { replaceBars, type ChangedBar } from './rows.ts';
import { remergeRollups, rollupsAbove } from './rollups.ts';
import { notifyRevised, unmarkLate } from './state.ts';
import { beginStep, type StepFrame } from './step-statements.ts';
import type { BarsPolicy } from './commit-step.ts';
import { barOfTicks } from './from-ticks.ts';

/** ticks read per transaction: a window may hold a million, and the live windows wait meanwhile */
const TICKS_MAX = 200_000;

export interface Revision {
  /** the windows examined; those beyond TICKS_MAX are left to another transaction */
  done: LateWindow[];
  /** windows whose bar is different or new */
  windows: ChangedBar[];
  /** rollups recomputed as a result */
  rollups: ChangedBar[];
  /** rollups as they are stored now: the caller adopts them */
  restore: BarRow[];
}

/**
 * Recomputes windows from tick_data, the set of distinct ticks, and the rollups above those that changed, as one step
 * of the partition. Only once the tick consumer has passed what made them late: earlier, a bar would shrink. A bar
 * never loses ticks.
 */
export async function reviseWindows(
  client: Client,
  frame: StepFrame,
  at: Resume,
  late: readonly LateWindow[],
  policy: BarsPolicy,
): Promise<Revision> {
  if (!(await beginStep(client, frame, { ...at, dropped: 0 }))) {
    // its changes are no longer known
    const live = late.map((window) => ({ ...window, runId: 0n }));
    const restore = await rollupsAbove(client, 'bars_ohlcv', policy.windowMs, live);
    return { done: [], windows: [], rollups: [], restore };
  }
  const rows: BarRow[] = [];
  const done: LateWindow[] = [];
  let ticks = 0;
  for (const window of late) {
    if (ticks > TICKS_MAX) break;
    const bar = await barOfTicks(client, window);
    done.push(window);
    if (bar === null) continue;
    ticks += bar.tickCount;
    const { provider, symbol, startUs, endUs } = window;
    const intervalMs = (endUs - startUs) / 1000;
    rows.push({ runId: 0n, provider, symbol, intervalMs, startUs, bar, isFinal: true, lastSeq: 0n });
  }
  const windows = await replaceBars(client, 'bars_ohlcv', rows, 'not_poorer');
  const rollups = await remergeRollups(client, { table: 'bars_ohlcv', ...policy }, windows, []);
  await unmarkLate(client, frame, done);
  await notifyRevised(
    client,
    [...windows, ...rollups].filter(({ revision }) => revision > 0),
  );
  await client.query('COMMIT');
  return { done, windows, rollups, restore: rollups.map(({ row }) => row) };
}
