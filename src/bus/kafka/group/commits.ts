import type { LogLine } from '../../../core/env.ts';
import type { GroupCheckpoints, GroupOptions } from '../../bus.ts';
import { CHECKPOINT_MS } from '../../checkpoints.ts';
import type { KafkaCluster } from '../cluster.ts';
import { busError, hasCode, KafkaCode } from '../errors.ts';
import type { OffsetTracker } from './offset-tracker.ts';
import type { Membership } from './membership.ts';
import { commitOnce } from './offsets.ts';

/** the group has changed, or this member no longer belongs to it: the next heartbeat tells which */
const NOT_NOW = [
  KafkaCode.staleMemberEpoch,
  KafkaCode.fencedMemberEpoch,
  KafkaCode.unknownMemberId,
  KafkaCode.illegalGeneration,
  KafkaCode.rebalanceInProgress,
  KafkaCode.groupIdNotFound,
];

/** Tells the broker, and later the checkpoints, what a member has acknowledged. */
export class KafkaCommits {
  readonly #cluster: KafkaCluster;
  readonly #options: GroupOptions;
  readonly #membership: Membership;
  readonly #checkpoints: GroupCheckpoints;
  readonly #log: LogLine;
  /** of the partitions that the member may commit at this moment */
  readonly #trackers: () => OffsetTracker[];
  readonly #written = new Map<number, number>();
  #committing: Promise<void> | null = null;
  #timer: NodeJS.Timeout | null = null;

  constructor(
    cluster: KafkaCluster,
    options: GroupOptions,
    given: { membership: Membership; checkpoints: GroupCheckpoints; trackers: () => OffsetTracker[] },
  ) {
    this.#cluster = cluster;
    this.#options = options;
    this.#membership = given.membership;
    this.#checkpoints = given.checkpoints;
    this.#trackers = given.trackers;
    this.#log = cluster.env.log;
  }

  /**
   * Tries once to commit what may be committed; what the group does not take now stays uncommitted. One commit at a time, so
   * that an older one can never overtake a newer one.
   * @throws BusError when waiting does not help
   */
  async commit(): Promise<void> {
    while (this.#committing !== null) await this.#committing;
    const ready = this.#trackers().filter((tracker) => tracker.committed < tracker.committable);
    if (ready.length === 0) return;
    this.#committing = this.#send(ready).finally(() => (this.#committing = null));
    await this.#committing;
  }

  async writeCheckpoints(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    const { topic, group } = this.#options;
    for (const { partition, committed } of this.#trackers()) {
      if (committed <= 0 || this.#written.get(partition) === committed) continue;
      try {
        await this.#checkpoints.write(topic, group, partition, String(committed - 1));
        this.#written.set(partition, committed);
      } catch (error) {
        this.#log('warn', 'kafka: the mark of a group was not written', {
          topic,
          group,
          partition,
          err: error,
        });
      }
    }
  }

  async #send(trackers: readonly OffsetTracker[]): Promise<void> {
    const { topic, group } = this.#options;
    const by = this.#membership.committer;
    if (by === null) return;
    const commits = trackers.map((tracker) => ({
      tracker,
      partition: tracker.partition,
      offset: tracker.committable,
    }));
    try {
      await commitOnce(this.#cluster, this.#membership.connections, group, topic, commits, by);
      for (const { tracker, offset } of commits) tracker.committed = offset;
      this.#timer ??= setTimeout(() => void this.writeCheckpoints(), CHECKPOINT_MS).unref();
    } catch (error) {
      this.#cluster.noteFailure(error);
      if (hasCode(error, ...NOT_NOW)) {
        this.#membership.hurry();
        return;
      }
      const failure = busError(error, `acknowledging for group ${group}`);
      if (failure.kind !== 'unreachable') throw failure;
    }
  }
}
