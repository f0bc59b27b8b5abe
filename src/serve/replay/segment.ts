import type { Env } from '../../core/env.ts';
import { EventRecords } from '../../core/replay/event-records.ts';
import { lagMs, reachedUs, waitMs, withSpeed, type Pace } from '../../core/replay/pacing.ts';
import type { ReplayPosition, Series } from '../../core/replay/position.ts';
import { RowBytes } from '../../core/replay/row-bytes.ts';
import type { ReplayRows } from '../../core/replay/rows.ts';
import { unlessAborted, WakeableWait } from '../../core/wait.ts';
import type { Encoding } from '../../bus/bus.ts';
import type { Publisher } from '../../bus/publisher.ts';
import type { ReplayState } from '../../store/replay/runs.ts';
import type { RunDigest } from './digest.ts';
import type { MergedPages, Slice } from './merged-pages.ts';
import type { ReplayReport } from './report.ts';
import type { SourcePages } from './source-pages.ts';

export interface SegmentOptions {
  runId: bigint;
  series: readonly Series[];
  interval: string | null;
  encoding: Encoding;
  /** where it begins */
  state: ReplayState;
  speed: number;
  pages: MergedPages;
  digest: RunDigest;
  /** of this segment alone */
  publisher: Publisher;
  report: ReplayReport;
  env: Env;
  /** false: somebody else may have the run */
  isHeld: () => boolean;
}

/** Rows that are encoded at once: the publisher has as many in a batch. */
const ROWS_MAX = 1_000;
/** How long nothing is done at most, so that a standing clock or a lost lease is seen, ms. */
const WAIT_MS_MAX = 1_000;
/** Between two looks whether the lease is ours again, ms. */
const HELD_MS = 100;
/** A timer fires up to a millisecond late: what is due so soon is emitted now. */
const EARLY_MS = 0.5;
/** How long an interrupted segment goes on handing over what it has encoded, ms. */
const HAND_OVER_MS = 2_000;

/** What is on the bus once the publisher has settled so many records. */
interface Mark {
  settled: number;
  pages: SourcePages;
  rows: ReplayRows;
  row: number;
  digestState: Buffer | null;
}

/**
 * Emits the rows behind a position, in order and when they are due, until there are none or it is interrupted:
 *
 *   pages ─► due? ─► digest ─► event ─► publisher ─► [mark: what is on the bus so far]
 *              ▲ not yet: waits                ▲ full queue: waits
 */
export class Segment {
  readonly #options: SegmentOptions;
  readonly #records: EventRecords;
  readonly #bytes: RowBytes;
  readonly #waiting = new WakeableWait();
  readonly #marks: Mark[] = [];
  #reached: Mark | null = null;
  #handedOver = 0;
  #pace: Pace | null = null;
  #speed: number;
  #nextUs: number | null = null;
  #emittedUs: number;

  constructor(options: SegmentOptions) {
    const { runId, series, interval, encoding, speed, state } = options;
    this.#options = options;
    this.#records = new EventRecords(series, { runId, encoding, interval });
    this.#bytes = new RowBytes(series);
    this.#speed = speed;
    this.#emittedUs = Number(state.position?.tsUs ?? 0n);
  }

  /** Resolves to true when the last row is on the bus; to false when it was interrupted. Rejects as reads and the publisher do. */
  async run(interrupted: AbortSignal): Promise<boolean> {
    const { pages, publisher, env } = this.#options;
    const wake = (): void => this.#waiting.wake();
    interrupted.addEventListener('abort', wake);
    publisher.broken.addEventListener('abort', wake);
    const handOver = patience(interrupted);
    try {
      while (!interrupted.aborted) {
        const nextUs = await unlessAborted(pages.nextUs(), interrupted);
        if (interrupted.aborted) break;
        this.#nextUs = nextUs;
        if (nextUs === null) {
          await unlessAborted(publisher.settled(), handOver.signal);
          return !interrupted.aborted;
        }
        if (publisher.broken.aborted) throw publisher.broken.reason;
        const nowMs = env.clock.monotonicMs();
        const pace = (this.#pace ??= this.#firstPace(nextUs, nowMs));
        const ms = this.#options.isHeld() ? waitMs(pace, nextUs, nowMs) : HELD_MS;
        if (ms > EARLY_MS) await this.#waiting.wait(Math.min(ms, WAIT_MS_MAX));
        else {
          const untilUs = Math.max(nextUs, reachedUs(pace, nowMs + EARLY_MS));
          await this.#emit(pages.take(untilUs, ROWS_MAX), handOver.signal);
        }
      }
      return false;
    } finally {
      handOver.end();
      interrupted.removeEventListener('abort', wake);
      publisher.broken.removeEventListener('abort', wake);
    }
  }

  /** From now on. */
  changeSpeed(speed: number): void {
    this.#speed = speed;
    if (this.#pace !== null)
      this.#pace = withSpeed(this.#pace, speed, this.#options.env.clock.monotonicMs(), this.#emittedUs);
    this.#waiting.wake();
  }

  /** How far it lags behind its times, ms. */
  get lagMs(): number {
    return this.#pace === null ? 0 : lagMs(this.#pace, this.#nextUs, this.#options.env.clock.monotonicMs());
  }

  /** What is on the bus. */
  get state(): ReplayState {
    const { publisher, state } = this.#options;
    const settled = publisher.settledCount;
    while (this.#marks.length > 0 && this.#marks[0].settled <= settled)
      this.#reached = this.#marks.shift() ?? null;
    const reached = this.#reached;
    const playheadUs = this.#playheadUs();
    if (reached === null) return { ...state, playheadUs };
    const position: ReplayPosition = reached.pages.positionOf(reached.rows, reached.row);
    return {
      position,
      playheadUs,
      emitted: state.emitted + reached.settled,
      digestState: reached.digestState,
      seeksDone: state.seeksDone,
    };
  }

  #playheadUs(): bigint | null {
    const pace = this.#pace;
    if (pace === null) return this.#options.state.playheadUs;
    if (pace.speed === 0) return this.#emittedUs === 0 ? null : BigInt(this.#emittedUs);
    // nothing is skipped: what was due and is not emitted yet is due at once when somebody goes on
    return BigInt(Math.floor(reachedUs(pace, this.#options.env.clock.monotonicMs())));
  }

  #firstPace(nextUs: number, nowMs: number): Pace {
    const { playheadUs } = this.#options.state;
    return {
      anchorMs: nowMs,
      anchorUs: playheadUs === null ? nextUs : Number(playheadUs),
      speed: this.#speed,
    };
  }

  async #emit(slice: Slice, signal: AbortSignal): Promise<void> {
    const { digest, publisher, report } = this.#options;
    const { pages, rows, from, to } = slice;
    digest.update(this.#bytes.of(rows, from, to));
    const records = [];
    for (let row = from; row < to; row += 1) records.push(this.#records.of(rows, row));
    this.#handedOver += to - from;
    this.#emittedUs = rows.tsUs(to - 1);
    this.#marks.push({ settled: this.#handedOver, pages, rows, row: to - 1, digestState: digest.state() });
    report.emitted(rows.series, from, to);
    await unlessAborted(publisher.add(records), signal);
  }
}

/** Aborts some time after another signal. */
function patience(interrupted: AbortSignal): { signal: AbortSignal; end: () => void } {
  const out = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const begin = (): void => {
    timer = setTimeout(() => out.abort(), HAND_OVER_MS);
  };
  if (interrupted.aborted) begin();
  else interrupted.addEventListener('abort', begin, { once: true });
  return {
    signal: out.signal,
    end: () => {
      clearTimeout(timer);
      interrupted.removeEventListener('abort', begin);
    },
  };
}
