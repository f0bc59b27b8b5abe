import type { FeatureTick } from '../feature/tick.ts';
import type { TickEvent } from '../market/event.ts';
import type { SymbolKey } from '../window/step.ts';
import type { HourDigest } from './row-digest.ts';
import type { FeatureRow } from './signal.ts';
import { SymbolRows, type Primed, type RowRules, type RowSink, type TickOutcome } from './symbol-rows.ts';
import { blockHas, type KeyBlock } from './taken-keys.ts';

/** A symbol as a checkpoint has it. */
export interface SymbolState extends SymbolKey {
  state: Uint8Array;
  facts: readonly string[];
  /** the first tick that its features know, µs */
  anchorUs: number;
  primed: Primed | null;
  /** keys that took part; stored once, and never changed */
  blocks?: readonly KeyBlock[];
  /** of hours in which it was looked at since the checkpoint before */
  digests?: readonly HourDigest[];
}

/** A tick that came too late for the features. */
export interface LateTick {
  provider: string;
  symbol: string;
  tsUs: number;
  seq: bigint;
}

/** A tick that is too late, unless it comes again: what is stored of its symbol decides. */
export interface UnsureTick extends LateTick {
  anchorUs: number;
  primed: Primed | null;
}

/** What is stored that can have the key of an unsure tick. */
export interface StoredKeys {
  /** it is among the ticks with which the features of its symbol began */
  isPrimed: boolean;
  /** the one block that can have it; null: none can */
  block: Uint8Array | null;
}

/** Whether a tick took part, as what is stored says. */
export function tookPart({ tsUs, seq }: LateTick, { isPrimed, block }: StoredKeys): boolean {
  return isPrimed || (block !== null && blockHas(block, tsUs, seq));
}

/**
 * The features of all symbols of a partition: events in, looks at the features out. What comes out depends only on the order of
 * the entries: a restart with the states of an entry, from behind that entry, gives the same as if there had been none.
 */
export class PartitionRows {
  readonly #rules: RowRules;
  readonly #symbols = new Map<string, { key: SymbolKey; rows: SymbolRows }>();
  /** symbols that wait for a watermark or a window's end */
  readonly #waiting = new Set<{ key: SymbolKey; rows: SymbolRows }>();
  readonly #changed = new Set<{ key: SymbolKey; rows: SymbolRows }>();
  #rows: FeatureRow[] = [];
  #late: LateTick[] = [];
  #unsure: UnsureTick[] = [];
  #busMs = -Infinity;
  #unstored = 0;

  /** @throws RangeError where a state's bytes are none of this set of features */
  constructor(rules: RowRules, known: Iterable<SymbolState>) {
    this.#rules = rules;
    for (const { state, facts, primed, ...key } of known) {
      const found = this.#add(key);
      found.rows.load(state);
      found.rows.primed = primed;
      found.rows.facts = facts;
      this.#busMs = Math.max(this.#busMs, found.rows.heardMs);
      if (found.rows.isWaiting) this.#waiting.add(found);
    }
  }

  get symbols(): number {
    return this.#symbols.size;
  }

  /** Ticks that left windows early, because their symbol has more of them than are kept. */
  get cut(): number {
    let cut = 0;
    for (const { rows } of this.#symbols.values()) cut += rows.features.cut;
    return cut;
  }

  /** Looks that nobody has taken. */
  get rowCount(): number {
    return this.#rows.length;
  }

  /** Events since the states were taken: so many keys, and late ticks, at most wait to be stored. */
  get unstored(): number {
    return this.#unstored;
  }

  isKnown({ replayRunId, provider, symbol }: TickEvent): boolean {
    return this.#symbols.has(nameOf(replayRunId ?? 0n, provider, symbol));
  }

  /**
   * Makes a symbol known, with ticks that are stored, in order, before its first event is taken.
   * @param primed which ticks these are, the same one each time
   */
  prime(key: SymbolKey, ticks: Iterable<FeatureTick>, primed: Primed): void {
    const found = this.#symbols.get(nameOf(key.runId, key.provider, key.symbol)) ?? this.#add(key);
    found.rows.primed = primed;
    for (const tick of ticks) found.rows.prime(tick, primed);
    this.#changed.add(found);
  }

  /** @param takenMs when the bus took it, ms */
  take(event: TickEvent, takenMs: number): TickOutcome {
    const { provider, symbol, replayRunId, srcTs, seq, price, size, bid, ask, side } = event;
    this.#unstored += 1;
    const runId = replayRunId ?? 0n;
    const found =
      this.#symbols.get(nameOf(runId, provider, symbol)) ?? this.#add({ runId, provider, symbol });
    if (takenMs > this.#busMs) this.#busMs = takenMs;
    const { rows } = found;
    // as closeIdle() does between two entries that are not read together
    if (rows.heardMs > -Infinity && this.#busMs - rows.heardMs >= this.#rules.idleTimeoutMs)
      rows.settle(this.#sinkOf(found));
    rows.heardMs = this.#busMs;
    const tick = { tsUs: Number(srcTs), seq, price, size, bid, ask, side };
    const outcome = rows.take(tick, this.#sinkOf(found));
    this.#touched(found);
    // of a replay nothing is noted
    if (runId !== 0n) return outcome === 'unsure' ? 'late' : outcome;
    const { tsUs } = tick;
    if (outcome === 'late') this.#late.push({ provider, symbol, tsUs, seq });
    if (outcome === 'unsure') {
      const { anchorUs, primed } = rows;
      this.#unsure.push({ provider, symbol, tsUs, seq, anchorUs, primed });
    }
    return outcome;
  }

  /**
   * Applies what waits of symbols that are silent. Call it often, even when there are no entries.
   * @param quietMs for how long nothing followed the newest entry
   * @returns whether there was any
   */
  closeIdle(quietMs: number): boolean {
    let isAny = false;
    const nowMs = this.#busMs + quietMs;
    for (const found of this.#waiting) {
      if (nowMs - found.rows.heardMs < this.#rules.idleTimeoutMs) continue;
      found.rows.settle(this.#sinkOf(found));
      this.#changed.add(found);
      this.#waiting.delete(found);
      isAny = true;
    }
    return isAny;
  }

  /** The looks since the last call, in the order in which they were taken. */
  takeRows(): FeatureRow[] {
    const rows = this.#rows;
    this.#rows = [];
    return rows;
  }

  /** Ticks since the last call of which it is to be looked up whether they took part; addLate() those that did not. */
  takeUnsure(): UnsureTick[] {
    const unsure = this.#unsure;
    this.#unsure = [];
    return unsure;
  }

  addLate({ provider, symbol, tsUs, seq }: LateTick): void {
    this.#late.push({ provider, symbol, tsUs, seq });
  }

  takeLate(): LateTick[] {
    const late = this.#late;
    this.#late = [];
    return late;
  }

  /** What rules in mode edge remember of a symbol. */
  facts(key: SymbolKey): readonly string[] {
    return this.#symbols.get(nameOf(key.runId, key.provider, key.symbol))?.rows.facts ?? [];
  }

  setFacts(key: SymbolKey, facts: readonly string[]): void {
    const found = this.#symbols.get(nameOf(key.runId, key.provider, key.symbol));
    if (found === undefined) return;
    found.rows.facts = facts;
    this.#changed.add(found);
  }

  /** Symbols that changed since the last call, as they are now; what the last call returned must be stored. */
  takeStates(): Omit<SymbolState, 'facts'>[] {
    const states = [...this.#changed].map(({ key, rows }) => ({
      ...key,
      state: rows.save(),
      anchorUs: rows.anchorUs,
      primed: rows.primed,
      digests: rows.digests.take(),
      blocks: rows.keys.take(),
    }));
    this.#unstored = 0;
    this.#changed.clear();
    return states;
  }

  #touched(found: { key: SymbolKey; rows: SymbolRows }): void {
    this.#changed.add(found);
    if (found.rows.isWaiting) this.#waiting.add(found);
    else this.#waiting.delete(found);
  }

  #sinkOf({ key, rows }: { key: SymbolKey; rows: SymbolRows }): RowSink {
    return (tsUs, features, values) => {
      if (this.#rules.times !== 'ticks') rows.digests.add(key.provider, key.symbol, tsUs, values);
      this.#rows.push({
        runId: key.runId,
        provider: key.provider,
        symbol: key.symbol,
        tsUs,
        price: features.price,
        values: values.slice(),
        isQuoted: features.isQuotedAt(tsUs),
      });
    };
  }

  #add(key: SymbolKey): { key: SymbolKey; rows: SymbolRows } {
    const { runId, provider, symbol } = key;
    const added = { key: { runId, provider, symbol }, rows: new SymbolRows(this.#rules, runId === 0n) };
    this.#symbols.set(nameOf(runId, provider, symbol), added);
    return added;
  }
}

/** No name contains a `|`. */
function nameOf(runId: bigint, provider: string, symbol: string): string {
  return `${runId}|${provider}|${symbol}`;
}
