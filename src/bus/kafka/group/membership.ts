import { backoffMs } from '../../../core/retry.ts';
import { atMost, deadline, Signal, WakeableWait } from '../../../core/wait.ts';
import { BusError } from '../../bus.ts';
import type { KafkaCluster } from '../cluster.ts';
import type { BrokerConnections } from '../connections.ts';
import { busError } from '../errors.ts';
import type { Committer } from './offsets.ts';

const LEAVE_MS = 3000;
const BACKOFF = { firstMs: 50, maxMs: 1000 };

/** What a membership tells its owner. */
export interface MembershipEvents {
  /** All partitions that the group gives it at this moment; new ones among them may be read from now on. */
  assigned(partitions: readonly number[]): void;
  /** Resolves when nothing of these is in flight any more: only then does the group give them to others. */
  release(partitions: readonly number[]): Promise<void>;
  /** The group has given everything to others, or may have: it was silent for too long. */
  lost(): void;
}

export interface MembershipOptions {
  topic: string;
  group: string;
  member: string;
  sessionMs: number;
}

/** What a protocol may use of its membership. */
export interface GroupSession {
  readonly cluster: KafkaCluster;
  readonly options: MembershipOptions;
  readonly events: MembershipEvents;
  readonly connections: BrokerConnections;
  /** The group has accepted it, or lets it wait for other members. */
  joined(): void;
  /** It was a member and no longer is: logs it and tells the owner. */
  lost(): void;
  /** Sends the next heartbeat now. */
  hurry(): void;
}

/** One of Kafka's two protocols for groups: what a heartbeat is, and what its answers mean. */
export interface GroupProtocol {
  /** in whose name offsets are committed; null while it is no member */
  readonly committer: Committer | null;
  /** Joins, or sends a heartbeat. @returns how long to rest then, ms @throws the client's error */
  beat(): Promise<number>;
  /** How long to rest, ms, after an error that is an ordinary answer of the protocol; null: it is a failure. */
  refused(error: unknown): number | null;
  /** Ends a beat() that is waiting for other members. */
  interrupt(): Promise<void>;
  /** Tells the group that it leaves. */
  leave(): Promise<void>;
}

/**
 * Being a member of a group. Heartbeats go on whatever the owner does:
 *
 *   alive ── beat ─► answer, refusal or failure ─► rest ─► beat …
 *     │ leave()
 *   leaving ── the beat under way has ended, or 3 s ─► the group is told, 3 s at most ─► left
 *
 * Without an answer in time the group gives its partitions to others when its session ends.
 */
export class Membership implements GroupSession {
  readonly cluster: KafkaCluster;
  readonly options: MembershipOptions;
  readonly events: MembershipEvents;
  /** heartbeats and commits go over connections of their own: a join or a fetch makes others wait */
  readonly connections: BrokerConnections;
  readonly #protocol: GroupProtocol;
  readonly #resting = new WakeableWait();
  readonly #answered = new Signal();
  readonly #joined = Promise.withResolvers<void>();
  #state: 'alive' | 'leaving' | 'left' = 'alive';
  /** the next rest is skipped */
  #hurried = false;
  #failure: BusError | null = null;
  #running: Promise<void> = Promise.resolve();
  #leaving: Promise<void> | null = null;

  constructor(
    cluster: KafkaCluster,
    options: MembershipOptions,
    events: MembershipEvents,
    protocol: new (session: GroupSession) => GroupProtocol,
  ) {
    this.cluster = cluster;
    this.options = options;
    this.events = events;
    this.connections = cluster.openConnections();
    this.#protocol = new protocol(this);
    this.#joined.promise.catch(() => {});
  }

  /** In whose name offsets are committed; null while it is no member. */
  get committer(): Committer | null {
    return this.#state === 'left' ? null : this.#protocol.committer;
  }

  /** Why it cannot become a member, when waiting does not help. */
  get failure(): BusError | null {
    return this.#failure;
  }

  /**
   * Resolves when the group has accepted it.
   * @throws BusError 'unreachable' when it has not within the time limit of all requests
   */
  async start(): Promise<void> {
    const { retryMs } = this.cluster;
    this.#running = this.#live();
    try {
      await deadline(
        this.#joined.promise,
        retryMs,
        () =>
          new BusError(
            'unreachable',
            `group ${this.options.group} has not taken the member in for ${retryMs} ms`,
          ),
      );
    } catch (error) {
      await this.leave();
      throw error;
    }
  }

  /** Resolves with the next answer of the group, after `ms` at the latest. */
  async answered(ms: number): Promise<void> {
    await atMost(this.#answered.wait(), ms);
  }

  /** Tells the group, if it answers. Idempotent. */
  leave(): Promise<void> {
    this.#leaving ??= this.#leave();
    return this.#leaving;
  }

  joined(): void {
    this.#joined.resolve();
  }

  lost(): void {
    const { group, member } = this.options;
    this.cluster.env.log('warn', 'kafka: no longer a member of the group, joining again', { group, member });
    this.events.lost();
  }

  hurry(): void {
    this.#hurried = true;
    this.#resting.wake();
  }

  async #leave(): Promise<void> {
    this.#state = 'leaving';
    this.hurry();
    await this.#protocol.interrupt();
    const ended = await atMost(this.#running, LEAVE_MS);
    if (ended) await atMost(this.#protocol.leave(), LEAVE_MS);
    this.#state = 'left';
    await this.cluster.discard(this.connections);
  }

  async #live(): Promise<void> {
    let failures = 0;
    while (this.#state === 'alive') {
      let restMs = 0;
      try {
        restMs = await this.#protocol.beat();
        failures = 0;
        this.#failure = null;
      } catch (error) {
        if (this.#isAlive()) restMs = this.#protocol.refused(error) ?? this.#failed(error, failures);
        failures += 1;
      }
      this.#answered.fire();
      if (this.#isAlive() && !this.#hurried) await this.#resting.wait(restMs);
      this.#hurried = false;
    }
    this.#joined.reject(
      this.#failure ??
        new BusError('unreachable', `group ${this.options.group} was left before it was joined`),
    );
  }

  /** It may have been told to leave while something was awaited. */
  #isAlive(): boolean {
    return this.#state === 'alive';
  }

  #failed(error: unknown, failures: number): number {
    const failure = busError(error, `group ${this.options.group}`);
    this.cluster.noteFailure(error);
    if (failure.kind !== 'unreachable') {
      this.#failure = failure;
      if (this.#protocol.committer === null) this.#joined.reject(failure);
    }
    return backoffMs(failures, BACKOFF, this.cluster.env.random());
  }
}
