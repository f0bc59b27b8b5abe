import type { FeatureTick } from '../../core/feature/tick.ts';
import type { TickEvent } from '../../core/market/event.ts';
import { tookPart, type PartitionRows, type UnsureTick } from '../../core/signal/partition-rows.ts';
import type { SignalsStore } from '../../store/signals/signals-store.ts';
import type { TickCursor, TickIdentity } from '../../store/signals/ticks.ts';
import type { PartitionEvent } from '../partition-events.ts';
import type { SignalReport } from './report.ts';

export interface StoredHistoryOptions {
  signals: SignalsStore;
  topic: string;
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
    for (const { event, delivery } of events) {
      if (event === null || event.kind !== 'tick' || rows.isKnown(event)) continue;
      await this.#primeSymbol(rows, event, delivery.takenMs);
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

  /** Of ticks that are older than what is remembered of their symbols those that did not take part. */
  async lateOf(unsure: readonly UnsureTick[]): Promise<UnsureTick[]> {
    if (unsure.length === 0) return [];
    const { signals, topic, group, store } = this.#options;
    const stored = await store(() => signals.storedKeys({ topic, group }, unsure));
    return unsure.filter((tick, at) => !tookPart(tick, stored[at]));
  }

  async #primeSymbol(
    rows: PartitionRows,
    { provider, symbol, srcTs, replayRunId }: TickEvent,
    takenMs: number,
  ): Promise<void> {
    const { signals, group, primeMs, allowLateMs, report, store } = this.#options;
    const key = { runId: replayRunId ?? 0n, provider, symbol };
    const firstUs = Number(srcTs);
    // a replay begins where the live features of its symbol did: then both are the same
    const anchorUs = key.runId === 0n ? null : await store(() => signals.anchor(group, key));
    // what is stored from now on is no part of it, also when it is asked later whether it was
    const seen = await store(() => signals.storedNow());
    const primed = { beforeUs: firstUs - allowLateMs * 1000, seen };
    const range = {
      provider,
      symbol,
      fromUs: anchorUs ?? firstUs - primeMs * 1000,
      // some of what the bus gave away before this group began, or a replay leaves out, may have come in disorder
      beforeUs: firstUs + allowLateMs * 1000,
      seenBy: group,
      // the first event may itself be a late one: what was stored before the bus took it does not come again. Nothing that was stored
      // later: it comes as an event, and whether it is late must not depend on how soon it was stored
      known: {
        storedBy: seen,
        storedBeforeUs: key.runId === 0n ? Math.floor(takenMs * 1000) : null,
      },
    };
    rows.prime(key, [], primed);
    let ticks = 0;
    for (let after: TickCursor | null = null; ;) {
      const from: TickCursor | null = after;
      const page: FeatureTick[] | null = await store(() => signals.ticks(range, from));
      if (page === null) break;
      rows.prime(key, page, primed);
      ticks += page.length;
      after = page[page.length - 1];
    }
    if (ticks > 0) report.primed(key, ticks);
  }
}

function nameOf({ provider, symbol, srcTs, seq }: TickIdentity): string {
  return `${provider}|${symbol}|${srcTs}|${seq}`;
}
