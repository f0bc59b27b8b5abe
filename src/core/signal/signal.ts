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

/** The column metadata, and `meta` of the event: JSON. */
export function metadataJson({ window, price, runId, modelVersion }: Signal): string {
  const run = runId === 0n ? '' : `,"replay_run_id":${runId}`;
  const model = modelVersion === null ? '' : `,"model_version":${quoted(modelVersion)}`;
  return `{"window":${quoted(window)},"price":${price}${run}${model}}`;
}

/** `ibkr|SPY|2025-10-24T14:02:02.000000Z|rsi`, behind it the run of a replay. */
export function signalId({ provider, symbol, tsUs, name, runId }: Signal): string {
  const id = `${provider}|${symbol}|${timeText(tsUs)}|${name}`;
  return runId === 0n ? id : `${id}|${runId}`;
}

/** Signal event v1: its JSON on mdp.signals. Put together by hand, because there are as many as ticks, and more. */
export function signalJson(signal: Signal, id: string): string {
  const { provider, symbol, tsUs, name, value, score } = signal;
  return `{"ver":1,"provider":${quoted(provider)},"symbol":${quoted(symbol)},"ts":"${timeText(tsUs)}","name":${quoted(name)},"value":${value},"score":${score},"meta":${metadataJson(signal)},"event_id":${JSON.stringify(id)}}`;
}

/** names repeat; at so many the memory of them is cleared */
const QUOTED_MAX = 10_000;
const quotes = new Map<string, string>();

function quoted(text: string): string {
  let found = quotes.get(text);
  if (found === undefined) {
    if (quotes.size >= QUOTED_MAX) quotes.clear();
    found = JSON.stringify(text);
    quotes.set(text, found);
  }
  return found;
}

let lastUs = NaN;
let lastText = '';

/** The signals of a tick follow each other, and have its time. */
function timeText(tsUs: number): string {
  if (tsUs !== lastUs) {
    lastText = formatMicros(BigInt(tsUs));
    lastUs = tsUs;
  }
  return lastText;
}
