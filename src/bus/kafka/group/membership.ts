import { BusError } from '../../bus.ts';
import type { KafkaCluster } from '../cluster.ts';
import { setTimeout as delay } from 'node:timers/promises';
import { atMost, deadline } from '../../../core/wait.ts';
import type { BrokerConnections } from '../connections.ts';
import type { Committer } from './offsets.ts';

/** What a membership tells its owner. */
export interface MembershipEvents {
  /** All that the group gives it at this moment; what is new among them may be read from now on. */
  assigned(partitions: readonly number[]): void;
  /** Resolves when nothing of these is in flight any more: only then does the group give them to others. */
  release(partitions: readonly number[]): Promise<void>;
  /** The group has given everything to others, or may have: it was silent for too long. */
  lost(): void;
}

/** Being a member of a group, by one of Kafka's two protocols. Its heartbeat goes on whatever its owner does. */
export interface Membership {
  /** in the name of whom offsets are committed; null while it is no member */
  readonly committer: Committer | null;
  /** why it cannot become a member, when no waiting mends that */
  readonly failure: BusError | null;
  /** heartbeats and commits go over connections of its own: a join or a fetch makes others wait */
  readonly connections: BrokerConnections;
  /** Resolves when the group has taken it in. @throws BusError */
  start(): Promise<void>;
  /** The next heartbeat goes out now. */
  beat(): void;
  /** Resolves with the next answer of the group, or after `ms`. */
  settled(ms: number): Promise<void>;
  leave(): Promise<void>;
}

export interface MembershipOptions {
  topic: string;
  group: string;
  member: string;
  sessionMs: number;
}

/** @throws BusError 'unreachable' when the group has not taken it in after the time that every request is given */
export async function joinedInTime(
  joined: Promise<void>,
  cluster: KafkaCluster,
  group: string,
): Promise<void> {
  const { retryMs } = cluster;
  await deadline(
    joined,
    retryMs,
    () => new BusError('unreachable', `group ${group} has not taken the member in for ${retryMs} ms`),
  );
}

/** Waits that can be cut short, and others that wait for its beats. */
export class Heart {
  #cut = new AbortController();
  #beaten = Promise.withResolvers<void>();
  #hurried = false;

  /** Sleeps for `ms` or until hurry(). */
  async rest(ms: number): Promise<void> {
    if (!this.#hurried) await delay(ms, undefined, { signal: this.#cut.signal, ref: false }).catch(() => {});
    this.#hurried = false;
    this.#cut = new AbortController();
  }

  /** Ends the rest that is going on, or the next one at once. */
  hurry(): void {
    this.#hurried = true;
    this.#cut.abort();
  }

  /** Whoever waits in beaten() goes on. */
  beat(): void {
    this.#beaten.resolve();
    this.#beaten = Promise.withResolvers();
  }

  async beaten(ms: number): Promise<void> {
    await atMost(this.#beaten.promise, ms);
  }
}
