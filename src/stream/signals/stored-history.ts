import type { FeatureTick } from '../../core/feature/tick.ts';
import type { TickEvent } from '../../core/market/event.ts';
import type { PartitionRows } from '../../core/signal/partition-rows.ts';
import type { SignalsStore } from '../../store/signals/signals-store.ts';
import type { TickCursor, TickIdentity } from '../../store/signals/ticks.ts';
import type { PartitionEvent } from '../partition-events.ts';
import type { SignalReport } from './report.ts';

export interface StoredHistoryOptions {
  signals: SignalsStore;
  group: string;
  /** how far back tick_data is read for a symbol that has no state, ms */
  primeMs: number;
  /** how far a tick may lag behind the newest one of its symbol, ms */
  allowLateMs: number;
  report: SignalReport;
  /** Calls the store until it answers. */
  store: <T>(call: () => Promise<T>) => Promise<T>;
}

const NONE: ReadonlySet<TickEvent> = new Set();

/** What is stored of the symbols of a partition's events, as far as their features depend on it. */
export class StoredHistory {
  readonly #options: StoredHistoryOptions;

  constructor(options: StoredHistoryOptions) {
    this.#options = options;
  }

  /** Symbols without a state get that of what tick_data has of before their first event. */
  async prime(rows: PartitionRows, events: readonly PartitionEvent[]): Promise<void> {
    for (const { event } of events) {
      if (event === null || event.kind !== 'tick' || rows.isKnown(event)) continue;
      await this.#primeSymbol(rows, event);
    }
  }

  /** Of replayed ticks those that came too late for the live features, which the replay makes again. */
  async seenLate(events: readonly PartitionEvent[]): Promise<ReadonlySet<TickEvent>> {
    const replayed = events.flatMap(({ event }) =>
      event !== null && event.kind === 'tick' && event.replayRunId !== null ? [event] : [],
    );
    if (replayed.length === 0) return NONE;
    const { signals, group, store } = this.#options;
    const late = new Set((await store(() => signals.lateAmong(group, replayed))).map(nameOf));
    return late.size === 0 ? NONE : new Set(replayed.filter((event) => late.has(nameOf(event))));
  }

  async #primeSymbol(
    rows: PartitionRows,
    { provider, symbol, srcTs, replayRunId }: TickEvent,
  ): Promise<void> {
    const { signals, group, primeMs, allowLateMs, report, store } = this.#options;
    const key = { runId: replayRunId ?? 0n, provider, symbol };
    const firstUs = Number(srcTs);
    // a replay begins where the live features of its symbol did: then both are the same
    const anchorUs = key.runId === 0n ? null : await store(() => signals.anchor(group, key));
    const settledUs = firstUs - allowLateMs * 1000;
    const range = {
      provider,
      symbol,
      fromUs: anchorUs ?? firstUs - primeMs * 1000,
      // some of what the bus gave away before this group began, or a replay leaves out, may have come in disorder
      beforeUs: firstUs + allowLateMs * 1000,
      seenBy: group,
    };
    rows.prime(key, [], settledUs);
    let ticks = 0;
    for (let after: TickCursor | null = null; ;) {
      const from: TickCursor | null = after;
      const page: FeatureTick[] | null = await store(() => signals.ticks(range, from));
      if (page === null) break;
      rows.prime(key, page, settledUs);
      ticks += page.length;
      after = page[page.length - 1];
    }
    if (ticks > 0) report.primed(key, ticks);
  }
}

function nameOf({ provider, symbol, srcTs, seq }: TickIdentity): string {
  return `${provider}|${symbol}|${srcTs}|${seq}`;
}
