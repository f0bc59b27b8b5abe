import type { Clock } from '../core/time.ts';
import { AgedEnds } from '../core/bus/aged-ends.ts';
import type { LogEnds, TrimPolicy } from './bus.ts';

/** how often the ends that outlive this process are noted and read, ms; with short ages more often */
const REFRESH_MS_MAX = 60_000;

/** Up to where the records of a partition are old enough to go, that position included; null: none is. */
export interface TrimBounds {
  /** when every group has acknowledged them */
  acknowledged: string | null;
  /** when there is no group */
  unclaimed: string | null;
}

export const NO_BOUNDS: TrimBounds = { acknowledged: null, unclaimed: null };

export interface LogAgesOptions {
  /** where the partitions of a topic end, its inbox included: the newest position of each, null when there never was one */
  ends: (topic: string) => Promise<ReadonlyMap<number, string | null>>;
  compare: (a: string, b: string) => number;
  logName: (topic: string) => Promise<string>;
  /** absent: every age is counted by this process alone */
  store?: LogEnds | undefined;
  clock: Clock;
}

interface Counted {
  ends: AgedEnds;
  refreshedMs: number;
}

/**
 * The age of what lies on a bus, by our clock: from when its log was first seen to end there or beyond. Never by ids of
 * entries or timestamps of records, which whoever writes them may set.
 */
export class LogAges {
  readonly #options: LogAgesOptions;
  readonly #counted = new Map<string, Counted>();

  constructor(options: LogAgesOptions) {
    this.#options = options;
  }

  /** By partition. Looks where the logs end now: what is called old later is what was there then. */
  async bounds(topic: string, policy: TrimPolicy): Promise<Map<number, TrimBounds>> {
    const bounds = new Map<number, TrimBounds>();
    for (const [partition, end] of await this.#options.ends(topic)) {
      const place = { topic, partition, end, outlives: policy.outlivesProcess === true };
      const acknowledged = await this.#olderThan(policy.acknowledgedMs, place);
      const unclaimed =
        policy.retentionMs === policy.acknowledgedMs
          ? acknowledged
          : await this.#olderThan(policy.retentionMs, place);
      bounds.set(partition, { acknowledged, unclaimed });
    }
    return bounds;
  }

  async #olderThan(
    ageMs: number,
    place: { topic: string; partition: number; end: string | null; outlives: boolean },
  ): Promise<string | null> {
    const { topic, partition, end, outlives } = place;
    if (end === null || ageMs <= 0) return end;
    const { clock, compare, store } = this.#options;
    const name = `${topic}|${partition}|${ageMs}`;
    let counted = this.#counted.get(name);
    if (counted === undefined) {
      counted = { ends: new AgedEnds(ageMs, compare), refreshedMs: -Infinity };
      this.#counted.set(name, counted);
    }
    const nowMs = clock.monotonicMs();
    if (store === undefined || !outlives) counted.ends.note(end, nowMs);
    else if (nowMs - counted.refreshedMs >= Math.min(REFRESH_MS_MAX, counted.ends.spacingMs)) {
      counted.refreshedMs = nowMs;
      await this.#refresh(counted.ends, store, ageMs, { topic, partition, end });
    }
    return counted.ends.upTo(clock.monotonicMs());
  }

  async #refresh(
    ends: AgedEnds,
    store: LogEnds,
    ageMs: number,
    { topic, partition, end }: { topic: string; partition: number; end: string },
  ): Promise<void> {
    const { clock, compare, logName } = this.#options;
    const limits = { ageMs, spacingMs: ends.spacingMs };
    try {
      const log = await logName(topic);
      let noted = await store.note(topic, log, partition, end, limits);
      if (noted.some(({ position }) => compare(position, end) > 0)) {
        // the topic was emptied and made anew under its name: what was noted of it means nothing
        await store.forget(topic, partition);
        noted = await store.note(topic, log, partition, end, limits);
      }
      const nowMs = clock.monotonicMs();
      ends.restore(
        noted.map((each) => ({ position: each.position, seenMs: nowMs - each.ageMs })),
        nowMs,
      );
    } catch {
      // the database is away: what is known goes on to age, and nothing becomes older than it is
      ends.note(end, clock.monotonicMs());
    }
  }
}
