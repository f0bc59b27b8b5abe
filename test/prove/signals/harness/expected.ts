import { createHash } from 'node:crypto';
import { DEFAULT_FEATURES, featureSet, type FeatureSet } from '../../../../src/core/feature/catalogue.ts';
import { PartitionRows, type LateTick } from '../../../../src/core/signal/partition-rows.ts';
import { signalId, type FeatureRow, type Signal } from '../../../../src/core/signal/signal.ts';
import type { RowTimes } from '../../../../src/core/signal/symbol-rows.ts';
import { tickSignals, tickSignalSet, tickSignalWindows } from '../../../../src/core/signal/tick-signals.ts';
import { RulesEvaluator } from '../../../../src/stream/inference/rules/evaluator.ts';
import type { Facts } from '../../../../src/stream/signals/evaluator.ts';
import type { Script } from './events.ts';
import type { SignalRole } from './roles.ts';

export const WINDOW_MS = 2_000;
export const ALLOW_LATE_MS = 500;
export const IDLE_MS = 2_000;

/** What one program makes of a script that is never restarted, has no servers, and takes one entry after the other. */
export interface Expected {
  signals: readonly Signal[];
  /** of the inference: windows with a tick */
  rows: number;
  /** how many ticks came too late for the features of each group */
  late: Readonly<Record<SignalRole, number>>;
}

/** @param rulesFile of the inference */
export async function expectedOf(script: Script, rulesFile: string): Promise<Expected> {
  const tickSet = tickSignalSet(DEFAULT_FEATURES);
  const ticks = looks(script, tickSet, 'ticks');
  const set = featureSet(DEFAULT_FEATURES);
  const windows = looks(script, set, WINDOW_MS);
  const rules = await RulesEvaluator.open({ file: rulesFile, features: set.names, window: '2s' });
  const signals = [
    ...tickSignals(ticks.rows, tickSignalWindows(tickSet)),
    ...rules.evaluate(windows.rows, new FactsInMemory()),
  ];
  await rules.close();
  return {
    signals,
    rows: windows.rows.length,
    late: { signals: distinct(ticks.late), infer: distinct(windows.late) },
  };
}

/** Of times, names and values, whatever their order. */
export function digestOf(signals: readonly Signal[]): string {
  const lines = signals.map(
    (signal) => `${signalId(signal)}|${signal.value}|${signal.score}|${signal.price}`,
  );
  return createHash('sha256').update(lines.sort().join('\n')).digest('hex').slice(0, 16);
}

function looks(
  { events, pauseAt }: Script,
  set: FeatureSet,
  times: RowTimes,
): { rows: FeatureRow[]; late: LateTick[] } {
  const rules = { set, times, allowLateMs: ALLOW_LATE_MS, idleTimeoutMs: IDLE_MS };
  const rows = new PartitionRows(rules, []);
  for (const [at, event] of events.entries()) {
    if (at === pauseAt) rows.closeIdle(Infinity);
    rows.take(event, at < pauseAt ? 0 : 2 * IDLE_MS);
  }
  rows.closeIdle(Infinity);
  // it has given nothing away: what it does not know did not take part
  return { rows: rows.takeRows(), late: [...rows.takeLate(), ...rows.takeUnsure()] };
}

function distinct(late: readonly LateTick[]): number {
  return new Set(late.map(({ provider, symbol, tsUs, seq }) => `${provider}|${symbol}|${tsUs}|${seq}`)).size;
}

class FactsInMemory implements Facts {
  readonly #facts = new Map<string, readonly string[]>();

  get({ runId, provider, symbol }: Parameters<Facts['get']>[0]): readonly string[] {
    return this.#facts.get(`${runId}|${provider}|${symbol}`) ?? [];
  }

  set({ runId, provider, symbol }: Parameters<Facts['set']>[0], facts: readonly string[]): void {
    this.#facts.set(`${runId}|${provider}|${symbol}`, facts);
  }
}
