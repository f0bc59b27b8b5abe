import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Test } from 'tap';
import type { Env } from '../../../../src/core/env.ts';
import { systemClock } from '../../../../src/core/time.ts';
import { RangeSet, type TickRange } from '../../../../src/core/ingest/ranges.ts';
import type { FetchedFrame } from '../../../../src/ingest/gaps/fetched-frames.ts';
import { GapFiller, type FillLimits } from '../../../../src/ingest/gaps/filler.ts';
import type { FillReport } from '../../../../src/ingest/gaps/report.ts';
import type { StreamEvents, StreamFailure, TickServer } from '../../../../src/ingest/sequencer/connection.ts';
import { until } from '../../../support/until.ts';

/** A Tick message with this number and, in a field that nobody knows, some bytes. */
export function frame(number: bigint, padding = 0): Uint8Array {
  const bytes = [0x08];
  for (let rest = number; ; rest >>= 7n) {
    const low = Number(rest & 0x7fn);
    bytes.push(rest < 0x80n ? low : low | 0x80);
    if (rest < 0x80n) break;
  }
  if (padding === 0) return Uint8Array.from(bytes);
  return Uint8Array.from([...bytes, 0x3a, 0x80 | (padding & 0x7f), padding >> 7, ...Array(padding).fill(7)]);
}

export const UNAVAILABLE = 14;
export const OUT_OF_RANGE = 11;

export class Refusal extends Error {
  readonly code: number;
  readonly isTooLarge: boolean;
  constructor(code: number, text: string, isTooLarge = false) {
    super(text);
    this.code = code;
    this.isTooLarge = isTooLarge;
  }
}

interface FakeCall {
  events: StreamEvents;
  frames: Iterator<Uint8Array>;
  isPaused: boolean;
}

type Answer = Uint8Array | null | Error;

/** A sequencer that answers as it is told; calls wait while `gate` is closed. */
export class FakeServer implements TickServer {
  headAt: bigint | Error = 1_000_000n;
  answer: (number: bigint, nth: number) => Answer = (number) => frame(number);
  /** what a stream that begins here carries, or how it is refused */
  streamed: (start: bigint) => Iterable<Uint8Array> | { code: number; text: string } = () => [];
  asked: bigint[] = [];
  starts: bigint[] = [];
  underWay = 0;
  mostUnderWay = 0;
  paused = 0;
  closed = 0;
  gate: Promise<void> | null = null;
  /** how a stream ends after its last frame; null: it stays open and silent */
  streamEnd: StreamFailure | null = null;
  #call: FakeCall | null = null;

  head(): Promise<bigint> {
    return this.headAt instanceof Error ? Promise.reject(this.headAt) : Promise.resolve(this.headAt);
  }

  async tick(number: bigint): Promise<Uint8Array | null> {
    this.asked.push(number);
    const nth = this.asked.filter((one) => one === number).length;
    this.underWay += 1;
    this.mostUnderWay = Math.max(this.mostUnderWay, this.underWay);
    await nextTurn();
    if (this.gate !== null) await this.gate;
    this.underWay -= 1;
    const answer = this.answer(number, nth);
    if (answer instanceof Error) throw answer;
    return answer;
  }

  stream(start: bigint, events: StreamEvents): void {
    this.starts.push(start);
    const content = this.streamed(start);
    if ('code' in content) {
      setImmediate(() => events.ended(content));
      return;
    }
    const call = { events, frames: content[Symbol.iterator](), isPaused: false };
    this.#call = call;
    this.#flow(call);
  }

  #flow(call: FakeCall): void {
    setImmediate(() => {
      if (this.#call !== call || call.isPaused) return;
      const { value, done } = call.frames.next();
      if (done === true) {
        if (this.streamEnd !== null) call.events.ended(this.streamEnd);
        return;
      }
      call.events.frame(value);
      this.#flow(call);
    });
  }

  pause(): void {
    this.paused += 1;
    if (this.#call !== null) this.#call.isPaused = true;
  }

  resume(): void {
    if (this.#call === null || !this.#call.isPaused) return;
    this.#call.isPaused = false;
    this.#flow(this.#call);
  }

  endStream(): void {
    this.#call = null;
  }

  close(): void {
    this.closed += 1;
    this.endStream();
  }
}

export interface Harness {
  filler: GapFiller;
  server: FakeServer;
  gaps: RangeSet;
  chunks: FetchedFrame[][];
  taken: () => bigint[];
  /** while true the ring has no room */
  full: { is: boolean };
  reports: FillReport[];
  unfillable: () => TickRange[];
  connects: () => number;
  clock: { addMs: (ms: number) => void };
}

export const LIMITS: FillLimits = {
  chunkTicks: 8,
  streamTicks: 8,
  chunkBytes: 1 << 20,
  calls: 4,
  longTicks: 20,
  turnTicks: 30,
  lingerMs: 5,
  flushMs: 5,
  stallMs: 60,
  missesMax: 3,
  missWaits: { firstMs: 4, maxMs: 20 },
  failureWaits: { firstMs: 4, maxMs: 20 },
  backoff: { firstMs: 4, maxMs: 20 },
  limited: { firstMs: 8, maxMs: 40 },
};

export function harness(t: Test, gaps: TickRange[], limits: Partial<FillLimits> = {}): Harness {
  const server = new FakeServer();
  const missing = new RangeSet(gaps);
  const chunks: FetchedFrame[][] = [];
  const reports: FillReport[] = [];
  const full = { is: false };
  let waiting: readonly FetchedFrame[] = [];
  let connects = 0;
  let addedMs = 0;
  const accept = (): void => {
    if (full.is || waiting.length === 0) return;
    chunks.push([...waiting]);
    for (const { number } of waiting) if (number !== null) missing.remove({ first: number, last: number });
    waiting = [];
  };
  const env: Env = {
    log: () => {},
    clock: {
      monotonicMs: () => performance.now() + addedMs,
      nowMicros: () => systemClock.nowMicros(),
    },
    random: () => 0.5,
  };
  const filler = new GapFiller({ ...LIMITS, ...limits }, env, {
    connect: () => {
      connects += 1;
      return server;
    },
    missing: (range) => missing.within(range, 1)[0] ?? null,
    fill: (chunk) => {
      if (waiting.length > 0) throw new Error('a second chunk');
      waiting = chunk;
      accept();
    },
    filling: () => waiting.length > 0,
    report: (report) => reports.push(report),
  });
  const turning = setInterval(() => {
    accept();
    filler.turn();
  }, 1);
  t.teardown(() => {
    clearInterval(turning);
    filler.stop();
  });
  return {
    filler,
    server,
    gaps: missing,
    chunks,
    taken: () => chunks.flat().flatMap(({ number }) => (number === null ? [] : [number])),
    full,
    reports,
    unfillable: () => reports.flatMap(({ unfillable }) => unfillable),
    connects: () => connects,
    clock: { addMs: (ms) => (addedMs += ms) },
  };
}

export const settled = ({ gaps }: Harness): Promise<boolean> =>
  until('every gap is filled', () => gaps.size === 0);
