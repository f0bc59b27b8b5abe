import type { Env, LogLevel } from '../../core/env.ts';
import type { Clock } from '../../core/time.ts';
import type { MessagePort } from 'node:worker_threads';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { SequenceStart } from '../../core/ingest/sequence.ts';
import type { TickRange } from '../../core/ingest/ranges.ts';
import type { SealedBatch } from './batch-builder.ts';
import type { FillCounts } from '../gaps/pass.ts';
import { GapFiller, type FillHost, type FillLimits } from '../gaps/filler.ts';
import type { FillReport } from '../gaps/report.ts';
import { FrameReader, type ReaderLimits } from './frame-reader.ts';
import { Comparisons } from './comparisons.ts';
import { ReaderCounts } from './counts.ts';
import { RepeatPackets, type RepeatedFrame } from './repeated-frames.ts';
import { Ring, type RingGeometry } from '../ring.ts';
import { SequencerConnection, type SourceOptions } from '../sequencer/connection.ts';
import { threadStats, type ThreadStats } from '../thread-stats.ts';
import type { Comparison } from '../sequencer/catch-up.ts';
import type { StreamHost, StreamLimits, StreamState } from '../sequencer/stream-host.ts';
import { TickStream } from '../sequencer/tick-stream.ts';

/** workerData of the reader thread. */
export interface ReaderSetup {
  geometry: RingGeometry;
  memory: SharedArrayBuffer;
  source: SourceOptions;
  reading: ReaderLimits;
  streaming: StreamLimits;
  filling: FillLimits;
}

export type ToReader =
  /**
   * Read from here; everything of an earlier run is abandoned. ask: what to request while no number is due. fill: the
   * gaps to start with; null when gaps are not filled, later ones included. forkAccepted: a head below our position is
   * no reason to halt, until it is no longer below.
   */
  | {
      type: 'start';
      run: number;
      start: SequenceStart;
      ask: bigint;
      fill: readonly TickRange[] | null;
      forkAccepted: boolean;
    }
  /** Stop and return the open slab. */
  | { type: 'stop'; run: number }
  /** Close the stream, seal and send what was read, then say 'drained'. */
  | { type: 'drain' }
  /** A batch was committed. */
  | { type: 'credit' }
  /** A packet of repeated frames is compared. */
  | { type: 'audited'; run: number }
  /** The answer to 'compare'. */
  | { type: 'compared'; run: number; id: number; comparison: Comparison };

export type FromReader =
  | { type: 'sealed'; run: number; batch: SealedBatch }
  | { type: 'repeated'; run: number; frames: RepeatedFrame[] }
  | { type: 'filling'; run: number; report: FillReport }
  | { type: 'state'; state: StreamState }
  /** Is this tick of the sequencer the one that is stored? */
  | { type: 'compare'; run: number; id: number; frame: { number: bigint; bytes: Uint8Array } }
  /** The sequencer has another chain. */
  | { type: 'forked'; run: number; reason: string }
  /** The head is no longer below our position. */
  | { type: 'headReached'; run: number }
  | { type: 'head'; head: bigint }
  | { type: 'stopped'; run: number }
  | { type: 'drained' }
  | { type: 'log'; level: LogLevel; message: string; fields: Readonly<Record<string, unknown>> }
  | { type: 'stats'; stats: ReaderStats };

export interface ReaderStats extends ThreadStats {
  counts: ReaderCounts;
  filling: FillCounts;
  reconnects: number;
  highest: bigint | null;
}

const STATS_MS = 500;
/** Precision of flush and reorder deadlines, ms. */
const TURN_MS_MAX = 20;

/** The reader thread: joins the stream, the frame reader and the ring, and exchanges messages with the main thread. */
export class ReaderLoop {
  readonly #setup: ReaderSetup;
  readonly #port: MessagePort;
  readonly #env: Env;
  readonly #ring: Ring;
  readonly #stream: TickStream;
  readonly #filler: GapFiller;
  readonly #delay = monitorEventLoopDelay();
  readonly #comparisons = new Comparisons((id, number, bytes) =>
    this.#send({ type: 'compare', run: this.#run, id, frame: { number, bytes } }),
  );
  readonly #counts = new ReaderCounts();
  #reader: FrameReader | null = null;
  #repeats: RepeatPackets | null = null;
  #run = 0;
  #fills = false;
  #ask = 0n;
  #draining = false;

  constructor(setup: ReaderSetup, port: MessagePort, clock: Clock, random: () => number) {
    this.#setup = setup;
    this.#port = port;
    this.#env = {
      log: (level, message, fields) => this.#send({ type: 'log', level, message, fields }),
      clock,
      random,
    };
    this.#ring = new Ring(setup.geometry, setup.memory);
    this.#stream = new TickStream(setup.source, setup.streaming, this.#env, this.#streamHost());
    this.#filler = new GapFiller(setup.filling, this.#env, this.#fillHost());
  }

  start(): void {
    this.#port.on('message', (message: ToReader) => this.#message(message));
    const turnMs = Math.max(1, Math.min(TURN_MS_MAX, this.#setup.reading.flushMs / 4));
    setInterval(() => this.#turn(), turnMs);
    this.#delay.enable();
    setInterval(() => this.#report(), STATS_MS);
  }

  #message(message: ToReader): void {
    switch (message.type) {
      case 'start':
        this.#abandon();
        this.#begin(message);
        return;
      case 'stop':
        this.#abandon();
        this.#send({ type: 'stopped', run: message.run });
        return;
      case 'drain':
        this.#draining = true;
        this.#stream.stop();
        this.#filler.stop();
        if (this.#reader === null) this.#send({ type: 'drained' });
        this.#turn();
        return;
      case 'credit':
        this.#turn();
        return;
      case 'audited':
        if (message.run !== this.#run) return;
        this.#repeats?.credit();
        this.#turn();
        return;
      case 'compared':
        if (message.run === this.#run) this.#comparisons.answered(message.id, message.comparison);
    }
  }

  #begin({ run, start, ask, fill, forkAccepted }: ToReader & { type: 'start' }): void {
    this.#fills = fill !== null;
    this.#ask = ask;
    this.#run = run;
    const repeats = new RepeatPackets((frames) => this.#send({ type: 'repeated', run, frames }));
    this.#repeats = repeats;
    this.#reader = new FrameReader(
      this.#ring,
      this.#setup.reading,
      start,
      {
        sealed: (batch) =>
          this.#send({ type: 'sealed', run, batch }, batch.side === null ? [] : [batch.side.buffer]),
        repeated: (frame) => repeats.offer(frame),
        mayJump: (number) => this.#stream.mayJump(number),
        gaps: (gaps) => {
          if (this.#fills) this.#filler.add(gaps);
        },
        pause: () => this.#stream.pause(),
        resume: () => this.#stream.resume(),
      },
      () => this.#env.clock.monotonicMs(),
    );
    this.#stream.resume();
    this.#stream.start(forkAccepted);
    if (fill !== null) this.#filler.start(fill);
  }

  #abandon(): void {
    this.#foldCounts();
    this.#stream.stop();
    this.#comparisons.clear();
    this.#filler.stop();
    this.#reader?.abandon();
    this.#reader = null;
  }

  #turn(): void {
    if (this.#reader === null) return;
    this.#repeats?.flush();
    if (!this.#draining) {
      this.#reader.turn();
      this.#filler.turn();
    } else if (this.#reader.drain()) {
      this.#repeats?.flush(true);
      this.#foldCounts();
      this.#reader = null;
      this.#send({ type: 'drained' });
    }
  }

  #streamHost(): StreamHost {
    return {
      frame: (bytes) => this.#reader?.frame(bytes),
      // a drain closes the stream for good, and frames already delivered are still sealed and sent
      disconnected: () => {
        if (!this.#draining) this.#reader?.disconnected();
      },
      resumeAt: () => this.#reader?.due || this.#ask || 0n,
      had: () => {
        const due = this.#reader?.due ?? null;
        return due === null ? null : due - 1n;
      },
      highest: () => this.#reader?.highest ?? null,
      waiting: () => this.#reader?.waiting ?? false,
      state: (state) => this.#send({ type: 'state', state }),
      head: (head) => this.#send({ type: 'head', head }),
      compare: (number, bytes) => this.#comparisons.compare(number, bytes),
      forked: (reason) => this.#send({ type: 'forked', run: this.#run, reason }),
      headReached: () => this.#send({ type: 'headReached', run: this.#run }),
    };
  }

  #fillHost(): FillHost {
    const { source } = this.#setup;
    return {
      connect: () => new SequencerConnection(source, this.#env.clock),
      missing: (range) => this.#reader?.missing(range) ?? null,
      fill: (chunk) => this.#reader?.fillGaps(chunk),
      filling: () => this.#reader?.filling ?? false,
      report: (report) => this.#send({ type: 'filling', run: this.#run, report }),
    };
  }

  #report(): void {
    this.#foldCounts();
    const { reconnects } = this.#stream;
    const highest = this.#reader?.highest ?? null;
    this.#send({
      type: 'stats',
      stats: {
        ...threadStats(this.#delay),
        counts: this.#counts,
        filling: this.#filler.counts,
        reconnects,
        highest,
      },
    });
  }

  /** A FrameReader counts for one run; the sums outlive it. */
  #foldCounts(): void {
    if (this.#reader === null) return;
    const { counts } = this.#reader;
    for (const key of Object.keys(counts) as (keyof ReaderCounts)[]) {
      this.#counts[key] += counts[key];
      counts[key] = 0;
    }
  }

  #send(message: FromReader, transfer: ArrayBuffer[] = []): void {
    this.#port.postMessage(message, transfer);
  }
}
