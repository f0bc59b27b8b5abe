import type { Client } from 'pg';
import { barId, type BarRow } from '../../core/market/bar.ts';
import { extendWindow } from '../../core/window/extension.ts';
import type { LatePolicy } from '../../core/window/rules.ts';
import type { LateWindow, Step, SymbolKey } from '../../core/window/step.ts';
import { windowEndUs } from '../../core/window/rollup.ts';
import { insertBars, readBars, replaceBars, writeRollups, type ChangedBar } from './rows.ts';
import { remergeRollups, rollupsAbove } from './rollups.ts';
import { markStatement, notifyRevised } from './state.ts';
import { sendStep, type SentStep, type StepFrame } from './step-statements.ts';
import { readRepairs, type Repair } from './repairs.ts';

export interface BarsPolicy {
  windowMs: number;
  late: LatePolicy;
  /** the close of each symbol as of the steps taken, µs; null: unknown */
  closedEndUs: (key: SymbolKey) => number | null;
}

export interface StepResult {
  /** rows added or changed */
  written: number;
  /** final bars replaced by richer ones */
  corrected: ChangedBar[];
  /** stored rollups that may differ from those in the step: the caller adopts them */
  restore: BarRow[];
  /** marks caused by stored bars with different values */
  late: LateWindow[];
}

const NOTHING: StepResult = { written: 0, corrected: [], restore: [], late: [] };

/**
 * One step of a partition: position, watermarks, closed bars, rollups and marks take effect together. May be retried
 * with the same step after any failure. Rejects with SQLSTATE MDF01 when the partition was taken over; on any failure
 * the session drops the connection, and the server ends the transaction.
 */
export async function commitStep(
  client: Client,
  frame: StepFrame,
  step: Step,
  policy: BarsPolicy,
): Promise<StepResult> {
  const sent = await sendStep(client, frame, step, step.late);
  if (!sent.isNew) return readAgain(client, sent, step, policy);
  const live = await settleLive(client, frame, sent, step, policy);
  const replayed = await writeReplayed(client, step, policy);
  const corrected = [...live.corrected, ...replayed.corrected];
  await notifyRevised(client, corrected);
  await client.query('COMMIT');
  return {
    written: live.written + replayed.written,
    corrected,
    restore: [...live.restore, ...replayed.restore],
    late: live.late,
  };
}

/** For a step that is already committed but was never answered: what its owner continues with. */
async function readAgain(
  client: Client,
  { differing }: SentStep,
  { windows, extensions, position }: Step,
  { windowMs, late }: BarsPolicy,
): Promise<StepResult> {
  const replayed = [...windows, ...extensions].filter(({ runId }) => runId !== 0n);
  // a repair changes live bars
  const live = [...windows, ...replayed].map((window) => ({ ...window, runId: 0n }));
  return {
    ...NOTHING,
    restore: [
      ...(await rollupsAbove(client, 'bars_ohlcv', windowMs, live)),
      ...(await rollupsAbove(client, 'bars_replay', windowMs, replayed)),
    ],
    late: late === 'revise' ? differing.map((row) => lateOf(row, position)) : [],
  };
}

/** Where the table has other values: the ticks themselves decide, or, without them, the bar with more of them. */
async function settleLive(
  client: Client,
  frame: StepFrame,
  { inserted, differing, merged, differingRollups }: SentStep,
  step: Step,
  policy: BarsPolicy,
): Promise<StepResult> {
  const isRevised = policy.late === 'revise';
  const late = isRevised ? differing.map((row) => lateOf(row, step.position)) : [];
  if (late.length > 0) await client.query(markStatement(frame, late));
  const changed = isRevised ? [] : await replaceBars(client, 'bars_ohlcv', differing, 'richer');
  const remerged = await remergeRollups(
    client,
    { table: 'bars_ohlcv', ...policy },
    changed,
    differingRollups,
  );
  return {
    written: inserted + merged + changed.length + remerged.length,
    corrected: [...changed, ...remerged].filter(({ revision }) => revision > 0),
    restore: remerged.map(({ row }) => row),
    late,
  };
}

function lateOf({ provider, symbol, startUs, intervalMs }: BarRow, position: string | null): LateWindow {
  return { provider, symbol, startUs, endUs: windowEndUs(startUs, intervalMs), position };
}

/** Bars of replays have their own tables; those of a repair also fill what live bars lack. */
async function writeReplayed(client: Client, step: Step, policy: BarsPolicy): Promise<StepResult> {
  const closed = step.windows.filter(({ runId }) => runId !== 0n);
  const rollups = step.rollups.filter(({ runId }) => runId !== 0n);
  if (closed.length + rollups.length + step.extensions.length === 0) return NOTHING;
  const { inserted, differing } = await insertBars(client, 'bars_replay', closed);
  const richer = await replaceBars(client, 'bars_replay', differing, 'richer');
  const extended = await extend(client, step, policy.windowMs);
  const merged = await writeRollups(client, 'bars_replay', rollups);
  const changed = [...richer, ...extended];
  const remerged = await remergeRollups(
    client,
    { table: 'bars_replay', ...policy },
    changed,
    merged.differing,
  );
  const repaired = await repair(client, [...closed, ...changed.map(({ row }) => row)], policy);
  const written = inserted + merged.written + changed.length + remerged.length + repaired.length;
  return {
    written,
    corrected: repaired.filter(({ revision }) => revision > 0),
    restore: [...remerged, ...repaired].map(({ row }) => row),
    late: [],
  };
}

async function extend(client: Client, { extensions }: Step, windowMs: number): Promise<ChangedBar[]> {
  const stored = await readBars(
    client,
    'bars_replay',
    extensions.map((each) => ({
      ...each,
      intervalMs: windowMs,
      endUs: windowEndUs(each.startUs, windowMs),
    })),
  );
  const rows = extensions.flatMap(({ ticks, ...key }, at) => {
    const window = extendWindow(stored[at][0] ?? null, ticks);
    return window === null ? [] : [{ ...key, intervalMs: windowMs, isFinal: true, ...window }];
  });
  return replaceBars(client, 'bars_replay', rows, 'differs');
}

/**
 * Live bars from those of a repair: windows wholly inside its range that have no bar, or one with fewer ticks. Windows
 * that live events still have open are left out: their bar will be written, and its rollups would count it twice.
 */
async function repair(client: Client, rows: readonly BarRow[], policy: BarsPolicy): Promise<ChangedBar[]> {
  const repairs = await readRepairs(client, [...new Set(rows.map(({ runId }) => runId))]);
  if (repairs.size === 0) return [];
  // the last version of a window is the newest
  const inside = new Map(
    rows.filter((row) => liesInside(row, repairs.get(row.runId))).map((row) => [barId(row), row]),
  );
  const live = [...inside.values()]
    .map((row) => ({ ...row, runId: 0n }))
    .filter((row) => {
      const closedUs = policy.closedEndUs(row);
      return closedUs === null || windowEndUs(row.startUs, row.intervalMs) <= closedUs;
    });
  const changed = await replaceBars(client, 'bars_ohlcv', live, 'richer');
  const remerged = await remergeRollups(client, { table: 'bars_ohlcv', ...policy }, changed, []);
  return [...changed, ...remerged];
}

function liesInside({ startUs, intervalMs }: BarRow, range: Repair | undefined): boolean {
  if (range === undefined) return false;
  return startUs >= range.startUs && windowEndUs(startUs, intervalMs) <= range.endUs;
}
