import type { KafkaFetcher } from '../fetcher.ts';
import { PartitionBuffer } from '../partition-buffer.ts';
import { NOT_YET, OffsetTracker } from './offset-tracker.ts';
import type { startingOffsets } from './offsets.ts';

/** How far a member is with one partition: what was fetched, what is in flight and what may be committed. */
export interface PartitionProgress {
  readonly buffer: PartitionBuffer;
  /** replaced when the log turns out to have been made anew */
  tracker: OffsetTracker;
  /** the attempt that begins with the first records since the partition came here has been counted */
  isAttemptCounted: boolean;
}

/** A partition that the group gives, until it is known where to begin. */
export interface StartingPartition {
  readonly kind: 'starting';
  readonly partition: number;
  /** from before it was lost; null: it was not this member's */
  readonly before: PartitionProgress | null;
}

type PartitionState =
  | StartingPartition
  | { kind: 'open'; progress: PartitionProgress }
  | { kind: 'leaving'; progress: PartitionProgress; gone: PromiseWithResolvers<void> }
  | { kind: 'suspended'; progress: PartitionProgress };

/**
 * The partitions of a member, each in a state of its own; one that is not listed is not the member's.
 *
 *   state      what it is                                event                                        next
 *   –          not the member's                          assigned                                     starting
 *   starting   given by the group; where to begin is     offsets known                                open
 *              not known yet                             release or lost, and it was here before      suspended
 *                                                        release or lost, and it was not              –
 *   open       fetched, handed out, committed            release                                      leaving
 *                                                        lost                                         suspended
 *   leaving    wanted back: nothing more is fetched,     nothing in flight, everything committed      –
 *              what is in flight is still acknowledged   lost                                         suspended
 *              and committed
 *   suspended  lost by a silence, ours or the broker's;  assigned with it                             starting
 *              acknowledgements are still noted          assigned without it                          –
 *
 *   release() resolves when a partition stops being `leaving`, however that comes about. What is not in the table changes
 *   nothing; close() leads from everywhere to –.
 *
 * A partition that was suspended opens as it was when nobody got further meanwhile: what is in flight stays in flight.
 */
export class MemberPartitions {
  readonly #fetcher: Pick<KafkaFetcher, 'add' | 'remove'>;
  readonly #states = new Map<number, PartitionState>();

  constructor(fetcher: Pick<KafkaFetcher, 'add' | 'remove'>) {
    this.#fetcher = fetcher;
  }

  /** Of the partitions that may be committed: open and leaving ones. */
  allOwned(): PartitionProgress[] {
    return [...this.#states.keys()].map((each) => this.owned(each)).filter((each) => each !== null);
  }

  /** Null: it may not be committed at the moment. */
  owned(partition: number): PartitionProgress | null {
    const state = this.#states.get(partition);
    return state?.kind === 'open' || state?.kind === 'leaving' ? state.progress : null;
  }

  /** Suspended ones included: what is acknowledged of them counts when they come back. */
  progressOf(partition: number): PartitionProgress | null {
    const state = this.#states.get(partition);
    if (state === undefined) return null;
    return state.kind === 'starting' ? state.before : state.progress;
  }

  mayTake(buffer: PartitionBuffer): boolean {
    const state = this.#states.get(buffer.partition);
    return state?.kind === 'open' && state.progress.buffer === buffer;
  }

  /** @param partitions all that the group gives at this moment @returns the new ones, for open() */
  assigned(partitions: readonly number[]): StartingPartition[] {
    const gained: StartingPartition[] = [];
    for (const partition of partitions) {
      const state = this.#states.get(partition);
      if (state !== undefined && state.kind !== 'suspended') continue;
      const starting = { kind: 'starting', partition, before: state?.progress ?? null } as const;
      this.#states.set(partition, starting);
      gained.push(starting);
    }
    for (const [partition, state] of this.#states) {
      if (state.kind === 'suspended') this.#forget(partition, state.progress);
    }
    return gained;
  }

  /**
   * Opens those that the group still gives since the same occasion.
   * @param begun where to begin, and which of them nobody has committed yet
   * @returns the partitions that were opened
   */
  open(starting: readonly StartingPartition[], begun: Awaited<ReturnType<typeof startingOffsets>>): number[] {
    const opened: number[] = [];
    for (const state of starting) {
      const { partition, before } = state;
      // taken away again meanwhile
      if (this.#states.get(partition) !== state) continue;
      const start = begun.offsets.get(partition) ?? 0;
      const committed = begun.open.has(partition) ? NOT_YET : start;
      const progress =
        before?.tracker.resume(committed) === true ? before : newProgress(partition, start, committed);
      if (before !== null && before !== progress) before.tracker.valid = false;
      this.#states.set(partition, { kind: 'open', progress });
      this.#fetcher.add(progress.buffer);
      opened.push(partition);
    }
    return opened;
  }

  /** Resolves when none of them is leaving any more. */
  async release(partitions: readonly number[]): Promise<void> {
    const leaving: Promise<void>[] = [];
    for (const partition of partitions) {
      const state = this.#states.get(partition);
      if (state?.kind === 'starting') this.#stopStarting(state);
      else if (state?.kind === 'leaving') leaving.push(state.gone.promise);
      else if (state?.kind === 'open') {
        const gone = Promise.withResolvers<void>();
        this.#states.set(partition, { kind: 'leaving', progress: state.progress, gone });
        leaving.push(gone.promise);
      }
    }
    this.letGo();
    await Promise.all(leaving);
  }

  /** Gives up the leaving ones of which nothing is in flight and everything acknowledged is committed. */
  letGo(): void {
    for (const [partition, state] of this.#states) {
      if (state.kind !== 'leaving') continue;
      const { tracker, buffer } = state.progress;
      if (tracker.pending > 0 || tracker.committed < tracker.committable) continue;
      this.#fetcher.remove(buffer);
      this.#forget(partition, state.progress);
      state.gone.resolve();
    }
  }

  lost(): void {
    for (const [partition, state] of this.#states) {
      if (state.kind === 'starting') this.#stopStarting(state);
      else if (state.kind !== 'suspended') {
        this.#fetcher.remove(state.progress.buffer);
        this.#states.set(partition, { kind: 'suspended', progress: state.progress });
        if (state.kind === 'leaving') state.gone.resolve();
      }
    }
  }

  /** release() waits no longer; what is leaving may still be acknowledged and committed. */
  endReleases(): void {
    for (const state of this.#states.values()) if (state.kind === 'leaving') state.gone.resolve();
  }

  close(): void {
    this.endReleases();
    for (const { tracker } of this.allOwned()) tracker.valid = false;
    this.#states.clear();
  }

  #stopStarting({ partition, before }: StartingPartition): void {
    if (before === null) this.#states.delete(partition);
    else this.#states.set(partition, { kind: 'suspended', progress: before });
  }

  #forget(partition: number, { tracker }: PartitionProgress): void {
    tracker.valid = false;
    this.#states.delete(partition);
  }
}

function newProgress(partition: number, start: number, committed: number): PartitionProgress {
  return {
    buffer: new PartitionBuffer(partition, start),
    tracker: new OffsetTracker(partition, start, committed),
    isAttemptCounted: false,
  };
}
