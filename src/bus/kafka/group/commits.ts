import type { LogLine } from '../../../core/env.ts';
import type { GroupMarks, GroupOptions } from '../../bus.ts';
import type { KafkaCluster } from '../cluster.ts';
import { busError, hasCode, KafkaCode } from '../errors.ts';
import type { Hand } from './offset-tracker.ts';
import type { Membership } from './membership.ts';
import { commitOnce } from './offsets.ts';

/** marks of what was acknowledged are written so long after it, ms */
const MARK_MS = 2000;
/** the group has changed, or this member is no part of it any more: the next heartbeat tells */
const NOT_NOW = [
  KafkaCode.staleMemberEpoch,
  KafkaCode.fencedMemberEpoch,
  KafkaCode.unknownMemberId,
  KafkaCode.illegalGeneration,
  KafkaCode.rebalanceInProgress,
  KafkaCode.groupIdNotFound,
];

/** Tells the broker, and later the marks, what a member's hands have acknowledged. */
export class KafkaCommits {
  readonly #cluster: KafkaCluster;
  readonly #options: GroupOptions;
  readonly #membership: Membership;
  readonly #marks: GroupMarks;
  readonly #log: LogLine;
  /** those of the partitions that are the member's at this moment */
  readonly #hands: () => Hand[];
  readonly #marked = new Map<number, number>();
  #committing: Promise<void> | null = null;
  #timer: NodeJS.Timeout | null = null;

  constructor(
    cluster: KafkaCluster,
    options: GroupOptions,
    given: { membership: Membership; marks: GroupMarks; hands: () => Hand[] },
  ) {
    this.#cluster = cluster;
    this.#options = options;
    this.#membership = given.membership;
    this.#marks = given.marks;
    this.#hands = given.hands;
    this.#log = cluster.log;
  }

  /**
   * Commits what may be committed, once; what the group does not take now stays uncommitted. One at a time, so that an
   * older one repeated can never overtake a newer one.
   * @throws BusError when waiting does not mend it
   */
  async commit(): Promise<void> {
    while (this.#committing !== null) await this.#committing;
    const ready = this.#hands().filter((hand) => hand.committed < hand.committable);
    if (ready.length === 0) return;
    this.#committing = this.#send(ready).finally(() => (this.#committing = null));
    await this.#committing;
  }

  async writeMarks(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    const { topic, group } = this.#options;
    for (const { partition, committed } of this.#hands()) {
      if (committed <= 0 || this.#marked.get(partition) === committed) continue;
      try {
        await this.#marks.write(topic, group, partition, String(committed - 1));
        this.#marked.set(partition, committed);
      } catch (error) {
        this.#log('warn', 'kafka: the mark of a group was not written', { topic, group, partition, error });
      }
    }
  }

  async #send(hands: readonly Hand[]): Promise<void> {
    const { topic, group } = this.#options;
    const by = this.#membership.committer;
    if (by === null) return;
    const commits = hands.map((hand) => ({ hand, partition: hand.partition, offset: hand.committable }));
    try {
      await commitOnce(this.#cluster, this.#membership.line, group, topic, commits, by);
      for (const { hand, offset } of commits) hand.committed = offset;
      this.#timer ??= setTimeout(() => void this.writeMarks(), MARK_MS).unref();
    } catch (error) {
      this.#cluster.noteFailure(error);
      if (hasCode(error, ...NOT_NOW)) {
        this.#membership.beat();
        return;
      }
      const failure = busError(error, `acknowledging for group ${group}`);
      if (failure.kind !== 'unreachable') throw failure;
    }
  }
}
