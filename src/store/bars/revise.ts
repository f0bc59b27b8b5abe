import type { Client } from 'pg';
import type { BarRow } from '../../core/market/bar.ts';
import { rollupsOf } from '../../core/window/rollup.ts';
import type { LateWindow, Resume } from '../../core/window/step.ts';
import { readBars, replaceBars, type ChangedBar } from './rows.ts';
import { remergeRollups, rollupsAbove, type NamedRollup, type SeriesWindow } from './rollups.ts';
import { notifyRevised, unmarkLate } from './state.ts';
import { beginStep, type StepFrame } from './step-statements.ts';
import { readMissing } from '../market/contested.ts';
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
 * never loses ticks, but for those that the tick consumer could not store; one that is only contested gains none.
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
    const restore = await rollupsAbove(client, 'bars_ohlcv', policy.windowMs, live(late));
    return { done: [], windows: [], rollups: [], restore };
  }
  const grown: BarRow[] = [];
  const contested: BarRow[] = [];
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
    const rows = window.contested === 'alone' ? contested : grown;
    rows.push({ runId: 0n, provider, symbol, intervalMs, startUs, bar, isFinal: true, lastSeq: 0n });
  }
  const windows = [
    ...(await replaceBars(client, 'bars_ohlcv', grown, 'not_poorer')),
    ...(await replaceBars(client, 'bars_ohlcv', await sameTicks(client, contested), 'differs')),
  ];
  const suspects = live(done.filter((window) => window.contested !== undefined));
  const rollups = await remergeRollups(
    client,
    { table: 'bars_ohlcv', ...policy },
    windows,
    rollupsOver(suspects, policy.windowMs),
  );
  await unmarkLate(client, frame, done);
  await notifyRevised(
    client,
    [...windows, ...rollups].filter(({ revision }) => revision > 0),
  );
  const restore = await rollupsAbove(client, 'bars_ohlcv', policy.windowMs, suspects);
  await client.query('COMMIT');
  return { done, windows, rollups, restore: [...rollups.map(({ row }) => row), ...restore] };
}

function live(windows: readonly LateWindow[]): SeriesWindow[] {
  return windows.map(({ provider, symbol, startUs }) => ({ runId: 0n, provider, symbol, startUs }));
}

/** Merged again even where no window changed: another program may have changed it, which the rollups in memory lack. */
function rollupsOver(windows: readonly SeriesWindow[], windowMs: number): NamedRollup[] {
  return windows.flatMap((window) => rollupsOf(windowMs).map((intervalMs) => ({ ...window, intervalMs })));
}

/**
 * Of recomputed bars those that have the ticks of the stored one, whatever their content, or fewer by no more than were
 * refused. Others have ticks that came too late for a bar.
 */
async function sameTicks(client: Client, rows: readonly BarRow[]): Promise<BarRow[]> {
  if (rows.length === 0) return [];
  const missing = await readMissing(client, rows);
  const ranges = rows.map((row) => ({ ...row, endUs: row.startUs + 1 }));
  const stored = await readBars(client, 'bars_ohlcv', ranges);
  return rows.filter((row, at) => {
    const lost = (stored[at][0]?.bar.tickCount ?? 0) - row.bar.tickCount;
    return lost >= 0 && lost <= missing[at];
  });
}
