import type { MessagePort } from 'node:worker_threads';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { SequenceStart } from '../core/ingest/sequence.ts';
import type { SealedBatch } from './fill.ts';
import { FrameReader, type ReaderCounts, type ReaderLimits } from './reader.ts';
import { Ring, type RingGeometry } from './ring.ts';
import type { SourceOptions } from './source.ts';
import { threadStats, type ThreadStats } from './thread-stats.ts';
import { TickStream, type StreamClock, type StreamLimits, type StreamState } from './stream.ts';

/** workerData of the reader thread. */
export interface ReaderSetup {
  geometry: RingGeometry;
  memory: SharedArrayBuffer;
  source: SourceOptions;
  reading: ReaderLimits;
  streaming: StreamLimits;
}

export type ToReader =
  /** Read from here; everything of an earlier run is abandoned. ask: what to request while no number is due. */
  | { type: 'start'; run: number; start: SequenceStart; ask: bigint }
  /** Stop and give the open slab back. */
  | { type: 'stop'; run: number }
  /** Close the stream, send what was read on its way, then say 'drained'. */
  | { type: 'drain' }
  /** A batch was committed. */
  | { type: 'credit' };

export type FromReader =
  | { type: 'sealed'; run: number; batch: SealedBatch }
  | { type: 'state'; state: StreamState }
  | { type: 'head'; head: bigint }
  | { type: 'stopped'; run: number }
  | { type: 'drained' }
  | { type: 'log'; level: 'info' | 'warn' | 'error'; message: string; fields: Record<string, unknown> }
  | { type: 'stats'; stats: ReaderStats };

export interface ReaderStats extends ThreadStats {
  counts: ReaderCounts;
  reconnects: number;
  highest: bigint | null;
}

const STATS_MS = 500;
/** Flush and reorder deadlines are kept to this precision, ms. */
const TURN_MS_MAX = 20;

/** The reader thread: joins the stream, the frame reader and the ring, and speaks with the main thread. */
export function runReader(setup: ReaderSetup, port: MessagePort, clock: StreamClock): void {
  const ring = new Ring(setup.geometry, setup.memory);
  const send = (message: FromReader, transfer: ArrayBuffer[] = []): void =>
    port.postMessage(message, transfer);
  const counts: ReaderCounts = {
    frames: 0,
    bytes: 0,
    repeated: 0,
    resumed: 0,
    late: 0,
    unnumbered: 0,
    gaps: 0,
    pauses: 0,
  };
  let reader: FrameReader | null = null;
  let run = 0;
  let ask = 0n;
  let draining = false;

  const stream = new TickStream(
    setup.source,
    setup.streaming,
    {
      frame: (bytes) => reader?.frame(bytes),
      disconnected: () => reader?.disconnected(),
      resumeAt: () => reader?.due ?? ask,
      highest: () => reader?.highest ?? null,
      waiting: () => reader?.waiting ?? false,
      state: (state) => send({ type: 'state', state }),
      head: (head) => send({ type: 'head', head }),
      log: (level, message, fields) => send({ type: 'log', level, message, fields }),
    },
    clock,
  );

  const foldCounts = (): void => {
    if (reader === null) return;
    for (const key of Object.keys(counts) as (keyof ReaderCounts)[]) {
      counts[key] += reader.counts[key];
      reader.counts[key] = 0;
    }
  };
  const abandon = (): void => {
    foldCounts();
    stream.stop();
    reader?.abandon();
    reader = null;
  };
  const begin = (start: SequenceStart): void => {
    reader = new FrameReader(
      ring,
      setup.reading,
      start,
      {
        sealed: (batch) =>
          send({ type: 'sealed', run, batch }, batch.side === null ? [] : [batch.side.buffer]),
        pause: () => stream.pause(),
        resume: () => stream.resume(),
      },
      () => clock.nowMs(),
    );
    stream.resume();
    stream.start();
  };
  const turn = (): void => {
    if (reader === null) return;
    if (!draining) return reader.turn();
    if (reader.drain()) {
      foldCounts();
      reader = null;
      send({ type: 'drained' });
    }
  };

  port.on('message', (message: ToReader) => {
    switch (message.type) {
      case 'start':
        abandon();
        run = message.run;
        ask = message.ask;
        begin(message.start);
        break;
      case 'stop':
        abandon();
        send({ type: 'stopped', run: message.run });
        break;
      case 'drain':
        draining = true;
        stream.stop();
        if (reader === null) send({ type: 'drained' });
        turn();
        break;
      case 'credit':
        turn();
        break;
    }
  });
  setInterval(turn, Math.max(1, Math.min(TURN_MS_MAX, setup.reading.flushMs / 4)));

  const delay = monitorEventLoopDelay();
  delay.enable();
  setInterval(() => {
    foldCounts();
    send({
      type: 'stats',
      stats: {
        ...threadStats(delay),
        counts,
        reconnects: stream.reconnects,
        highest: reader?.highest ?? null,
      },
    });
  }, STATS_MS);
}
