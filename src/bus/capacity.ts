import type { Env } from '../core/env.ts';
import {
  CAPACITY_LIMITS,
  judgeCapacity,
  type Backpressure,
  type CapacityLimits,
} from '../core/bus/capacity.ts';
import { atMost } from '../core/wait.ts';
import { BusError, type BusUsage, type StreamBus } from './bus.ts';
import { ShareTrimmer, type TopicShare } from './share-trimmer.ts';

const LOOK_MS = 3000;
/** how often it looks while the bus is nearly full, ms */
const NEARLY_FULL_LOOK_MS = 1000;
/** a bus that stays full is logged again after this many looks */
const REPEAT_ALARM_LOOKS = 60;
/** a refusal is over after this many looks without another one, also when nobody publishes */
const REFUSAL_LOOKS = 60;
/** the alarm waits this long for the name of the slowest group, ms */
const NAMING_MS = 500;

export interface BusCapacityOptions {
  bus: StreamBus;
  /** those that are trimmed */
  topics: readonly string[];
  /** the topic of dead letters; they have an age and a share of their own. null: this process does not trim it */
  deadLetterTopic?: string | null;
  /** the topic of signals, which have a share as well. null: this process does not trim it */
  signalsTopic?: string | null;
  env: Env;
  limits?: CapacityLimits;
  /** called when the alarm begins and when it ends, at once */
  alarmed?: (isAlarmed: boolean) => void;
  /** how often it looks while the bus is not nearly full, ms (default 3 s) */
  lookMs?: number;
}

type State = 'normal' | 'full' | 'refused' | 'probing';

/**
 * Keeps a bus from filling up: trims what every group has acknowledged, and makes publishers wait when that is not
 * enough. Every process with a bus runs one; several do not disturb each other.
 *
 *   state    publishers  alarm   leaves it
 *   normal   go on       off     measured at 80 % ─► full;  the bus refused a record ─► refused
 *   full     wait        on      measured below 75 % ─► normal
 *   refused  wait        on      measured below 80 % ─► probing, or none ─► full;  a record was taken ─► normal
 *   probing  go on       on      refused again ─► refused;  a record was taken, or a minute of looks passed ─► normal;
 *                                measured at 80 % ─► full
 *
 * A full disk does not show in the measured usage: only a record that was taken proves that there is capacity again.
 * Refusals in a row are one alarm, logged once.
 */
export class BusCapacity implements Backpressure {
  readonly #bus: StreamBus;
  readonly #topics: readonly string[];
  readonly #deadLetters: ShareTrimmer | null;
  readonly #signals: ShareTrimmer | null;
  readonly #env: Env;
  readonly #limits: CapacityLimits;
  readonly #alarmed: (isAlarmed: boolean) => void;
  readonly #lookMs: number;
  readonly #waiting = new Set<{ resolve: () => void; reject: (reason: unknown) => void }>();
  #usage: BusUsage | null = null;
  #trimmed = 0;
  #state: State = 'normal';
  /** during the look that is under way */
  #wasRefused = false;
  #looksWhileProbing = 0;
  #looksWhileFull = 0;
  #failures = 0;
  #looking: Promise<void> | null = null;
  #timer: NodeJS.Timeout | null = null;
  #isStopped = false;

  constructor({
    bus,
    topics,
    deadLetterTopic = null,
    signalsTopic = null,
    env,
    limits = CAPACITY_LIMITS,
    alarmed = () => {},
    lookMs = LOOK_MS,
  }: BusCapacityOptions) {
    this.#bus = bus;
    this.#topics = topics;
    const { deadLetterMs, deadLetterShare, acknowledgedMs, retentionMs, signalShare } = limits;
    const trimmer = (topic: string | null, share: Omit<TopicShare, 'topic'>): ShareTrimmer | null =>
      topic === null ? null : new ShareTrimmer(bus, { topic, ...share }, env);
    this.#deadLetters = trimmer(deadLetterTopic, {
      records: 'Dead letters',
      ageMs: deadLetterMs,
      acknowledgedMs: deadLetterMs,
      share: deadLetterShare,
      level: 'error',
    });
    // they are in their table as well
    this.#signals = trimmer(signalsTopic, {
      records: 'Signals',
      ageMs: retentionMs,
      acknowledgedMs,
      share: signalShare,
      level: 'info',
    });
    this.#env = env;
    this.#limits = limits;
    this.#alarmed = alarmed;
    this.#lookMs = lookMs;
  }

  /** Publishers are to wait. */
  get full(): boolean {
    return this.#state === 'full' || this.#state === 'refused';
  }

  /** The alarm: it is full, or refused a record and has taken none since. */
  get alarmed(): boolean {
    return this.#state !== 'normal';
  }

  /** As last seen; null: never yet. */
  get usage(): BusUsage | null {
    return this.#usage;
  }

  /** Records removed since the start. */
  get trimmed(): number {
    return this.#trimmed;
  }

  /** Dead letters removed before their time, because they took more than their share. */
  get deadLettersRemoved(): number {
    return this.#deadLetters?.removed ?? 0;
  }

  start(): void {
    if (this.#timer !== null || this.#isStopped) return;
    this.#schedule(0);
  }

  /** Publishers that wait are rejected (BusError). */
  async stop(): Promise<void> {
    this.#isStopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    for (const { reject } of this.#waiting) reject(new BusError('unreachable', 'this process ends'));
    this.#waiting.clear();
    await this.#looking;
  }

  /** Resolves when publishers may go on, at once unless they are to wait. Rejects with the signal's reason, or at stop(). */
  async relieved(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    if (!this.full) return;
    if (this.#isStopped) throw new BusError('unreachable', 'this process ends');
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiter = { resolve, reject };
    const abort = (): void => reject(signal?.reason);
    this.#waiting.add(waiter);
    signal?.addEventListener('abort', abort, { once: true });
    try {
      await promise;
    } finally {
      this.#waiting.delete(waiter);
      signal?.removeEventListener('abort', abort);
    }
  }

  /** The bus refused a record for want of memory or disk (BusError `full`): all publishers wait for the next look. */
  reportFull(): void {
    this.#wasRefused = true;
    const before = this.#state;
    if (before === 'normal' || before === 'probing') this.#state = 'refused';
    if (before === 'normal') this.#raiseAlarm('the bus refused a record');
  }

  /** The bus took records, so the reason of a refusal is gone. */
  reportTaken(): void {
    if (this.#state === 'refused' || this.#state === 'probing') this.#becomeNormal();
  }

  /** One look, also between the regular ones. Never rejects. */
  look(): Promise<void> {
    this.#looking ??= this.#look().finally(() => (this.#looking = null));
    return this.#looking;
  }

  #schedule(inMs: number): void {
    if (this.#isStopped) return;
    this.#timer = setTimeout(() => {
      void this.look().then(() => this.#schedule(this.#isNearlyFull() ? NEARLY_FULL_LOOK_MS : this.#lookMs));
    }, inMs);
  }

  async #look(): Promise<void> {
    this.#wasRefused = false;
    try {
      const usage = await this.#bus.usage();
      const { policy, isFilling } = judgeCapacity(usage, this.#state === 'full', this.#limits);
      let removed = 0;
      for (const topic of this.#topics) removed += await this.#bus.trim(topic, policy);
      removed += (await this.#deadLetters?.trim(usage)) ?? 0;
      removed += (await this.#signals?.trim(usage)) ?? 0;
      this.#trimmed += removed;
      // trimming may have freed enough
      this.#usage = isFilling && removed > 0 ? await this.#bus.usage() : usage;
      this.#failures = 0;
    } catch (error) {
      this.#failed(error);
      return;
    }
    this.#judge(judgeCapacity(this.#usage, this.#state === 'full', this.#limits).isFull);
  }

  /** @param isFull as it was measured just now */
  #judge(isFull: boolean): void {
    switch (this.#state) {
      case 'normal':
        if (isFull) this.#becomeFull();
        return;
      case 'full':
        // refused during this look: the next one decides
        if (!isFull && !this.#wasRefused) this.#becomeNormal();
        else if (isFull && ++this.#looksWhileFull % REPEAT_ALARM_LOOKS === 0) void this.#alarm('still');
        return;
      case 'refused':
        if (isFull) this.#state = 'full';
        else if (!this.#wasRefused) this.#probe();
        return;
      case 'probing':
        if (isFull) this.#state = 'full';
        else if (++this.#looksWhileProbing >= REFUSAL_LOOKS) this.#becomeNormal();
    }
  }

  #isNearlyFull(): boolean {
    return (
      this.alarmed || (this.#usage !== null && judgeCapacity(this.#usage, false, this.#limits).isFilling)
    );
  }

  #becomeFull(): void {
    this.#state = 'full';
    this.#raiseAlarm('what is not acknowledged fills it');
  }

  #raiseAlarm(why: string): void {
    this.#looksWhileFull = 0;
    this.#alarmed(true);
    void this.#alarm(why);
  }

  /** Publishers try again; reportFull() or reportTaken() tells how it went. */
  #probe(): void {
    this.#state = 'probing';
    this.#looksWhileProbing = 0;
    this.#wakePublishers();
  }

  #becomeNormal(): void {
    this.#state = 'normal';
    this.#alarmed(false);
    this.#env.log('info', 'The bus has room again, publishers go on', this.#fill());
    this.#wakePublishers();
  }

  #wakePublishers(): void {
    for (const { resolve } of this.#waiting) resolve();
    this.#waiting.clear();
  }

  /** Names the slowest group, where the bus tells it soon: most often one that nobody runs any more. */
  async #alarm(why: string): Promise<void> {
    const naming = this.#slowest().catch(() => null);
    const slowest = (await atMost(naming, NAMING_MS)) ? await naming : null;
    if (this.#isStopped) return;
    this.#env.log('error', 'The bus is full, publishers wait', { why, ...this.#fill(), slowest });
  }

  async #slowest(): Promise<{ topic: string; group: string; lagMs: number } | null> {
    let slowest: { topic: string; group: string; lagMs: number } | null = null;
    for (const topic of this.#topics) {
      for (const { group, lagMs } of await this.#bus.groups(topic)) {
        if (lagMs > (slowest?.lagMs ?? 0)) slowest = { topic, group, lagMs };
      }
    }
    return slowest;
  }

  #fill(): { bytes?: number; maxBytes?: number } {
    return this.#usage === null ? {} : { bytes: this.#usage.bytes, maxBytes: this.#usage.maxBytes };
  }

  #failed(error: unknown): void {
    this.#failures += 1;
    if (this.#failures !== 2 || this.#isStopped) return;
    this.#env.log('warn', 'The bus cannot be measured or trimmed, trying again', {
      error: error instanceof Error ? error.message : String(error),
    });
  }
}
