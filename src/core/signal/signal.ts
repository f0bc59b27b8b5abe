import { formatMicros } from '../time.ts';
import type { SymbolKey } from '../window/step.ts';

/** What a rule, a model or the signal consumer says about a symbol at a time. Known by (run, provider, symbol, time, name). */
export interface Signal extends SymbolKey {
  /** event time, µs since 1970: of the tick, or the end of the window */
  tsUs: number;
  name: string;
  /** finite */
  value: number;
  /** finite; null: it has none */
  score: number | null;
  /** what it is computed over: `2s`, `1d` */
  window: string;
  /** the last price at that time */
  price: number;
  /** null: no model made it */
  modelVersion: string | null;
}

/** Features of a symbol as of a time. */
export interface FeatureRow extends SymbolKey {
  /** the end of its window, or the time of its tick, µs */
  tsUs: number;
  price: number;
  /** in the order of FeatureSet.names; NaN: null */
  values: Float64Array;
  /** the spread is of this very tick */
  isQuoted: boolean;
}

/** The column metadata, and `meta` of the event. */
export function metadataOf({ window, price, runId, modelVersion }: Signal): Record<string, unknown> {
  return {
    window,
    price,
    ...(runId === 0n ? {} : { replay_run_id: Number(runId) }),
    ...(modelVersion === null ? {} : { model_version: modelVersion }),
  };
}

/** `ibkr|SPY|2025-10-24T14:02:02.000000Z|rsi`, behind it the run of a replay. */
export function signalId({ provider, symbol, tsUs, name, runId }: Signal): string {
  const id = `${provider}|${symbol}|${formatMicros(BigInt(tsUs))}|${name}`;
  return runId === 0n ? id : `${id}|${runId}`;
}

/** Signal event v1: its JSON on mdp.signals. */
export function signalJson(signal: Signal): string {
  const { provider, symbol, tsUs, name, value, score } = signal;
  return JSON.stringify({
    ver: 1,
    provider,
    symbol,
    ts: formatMicros(BigInt(tsUs)),
    name,
    value,
    score,
    meta: metadataOf(signal),
    event_id: signalId(signal),
  });
}
