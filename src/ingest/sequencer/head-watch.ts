import type { LogLine } from '../../core/env.ts';

export interface HeadWatchHost {
  /** The sequencer has a different chain from ours. One sentence. */
  forked(reason: string): void;
  /** An accepted head is no longer below our position. */
  headReached(): void;
}

/** How soon a suspicious head is checked again, ms: GetStatus may lag behind the stream. */
export const DOUBT_MS = 1_000;
/** A larger hole is believed only when the sequencer's head lies beyond it, ticks. */
export const JUMP_MAX = 1_000_000n;

/**
 * Compares the sequencer's head with what its stream delivered (spec P5). Two findings are believed only when seen
 * twice, a second apart: a head below the ticks that we had at the time of the query, and a tick far beyond the head.
 * The first may be a server that is behind, the second is another chain or none; neither may move the position.
 */
export class HeadWatch {
  readonly #log: LogLine;
  readonly #host: HeadWatchHost;
  readonly #below: (head: bigint, had: bigint, now: bigint) => void;
  #isAccepted = false;
  /** the log has the low head that lasts */
  #isTold = false;
  #head: bigint | null = null;
  #low: { had: bigint; sinceMs: number } | null = null;
  #jump: { number: bigint; sinceMs: number | null } | null = null;

  /** below: the head was below `had` and still is, `now` is what we have by now; behind or another chain (CatchUp). */
  constructor(log: LogLine, host: HeadWatchHost, below: (head: bigint, had: bigint, now: bigint) => void) {
    this.#log = log;
    this.#host = host;
    this.#below = below;
  }

  /** isAccepted: an operator chose to continue although the head is below our position. */
  begin(isAccepted: boolean): void {
    this.#isAccepted = isAccepted;
    this.#isTold = false;
    this.#low = null;
    this.#jump = null;
  }

  /** An operator chose to continue, and the head is below our position still. */
  get isAccepted(): boolean {
    return this.#isAccepted;
  }

  /** The stream was lost: a tick that we did not believe will either be sent again or not. */
  forgetJump(): void {
    this.#jump = null;
  }

  /** The head should be queried within DOUBT_MS. */
  get isDoubtful(): boolean {
    return this.#low !== null || this.#jump !== null;
  }

  /** Whether the hole before this number may be declared a gap; asked repeatedly until it may. */
  mayJump(number: bigint): boolean {
    if (this.#isAccepted || (this.#head !== null && this.#head >= number)) return true;
    if (this.#jump?.number !== number) this.#jump = { number, sinceMs: null };
    return false;
  }

  /** had: the last tick before the one that was due when the head was queried; null before the first one. */
  answered(head: bigint, had: bigint | null, nowMs: number): void {
    this.#head = head;
    this.#compareJump(head, nowMs);
    if (had !== null) this.#comparePosition(head, had, nowMs);
  }

  #compareJump(head: bigint, nowMs: number): void {
    const jump = this.#jump;
    if (jump === null) return;
    if (head >= jump.number) this.#jump = null;
    else if (jump.sinceMs === null) jump.sinceMs = nowMs;
    else if (nowMs - jump.sinceMs >= DOUBT_MS) {
      this.#jump = null;
      this.#host.forked(
        `the stream brought tick ${jump.number}, far beyond the head of the sequencer, ${head}`,
      );
    }
  }

  #comparePosition(head: bigint, had: bigint, nowMs: number): void {
    if (head >= (this.#low?.had ?? had)) {
      this.#low = null;
      this.#isTold = false;
      if (this.#isAccepted) this.#host.headReached();
      this.#isAccepted = false;
      return;
    }
    if (this.#isAccepted) return;
    if (this.#low === null) {
      this.#low = { had, sinceMs: nowMs };
      if (!this.#isTold)
        this.#log('warn', 'The head of the sequencer is below our position', { head, position: had });
      this.#isTold = true;
    } else if (nowMs - this.#low.sinceMs >= DOUBT_MS) {
      const { had: before } = this.#low;
      this.#low = null;
      this.#below(head, before, had);
    }
  }
}
