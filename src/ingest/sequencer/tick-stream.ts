import type { LogLine } from '../../core/env.ts';
import { backoffMs, streamVerdict, type BackoffLimits } from '../../core/retry.ts';
import { DOUBT_MS, HeadWatch } from './head-watch.ts';
import { findServed } from './oldest-served.ts';
import { SequencerConnection, type SourceOptions, type StreamFailure } from './connection.ts';
import { TooLarge } from './oversized.ts';

/** What the stream is doing, for /ready, the log and the metrics. */
export type StreamState =
  | { kind: 'connecting' }
  | { kind: 'streaming' }
  | { kind: 'down'; error: string; code: number }
  | { kind: 'stalled'; silentMs: number; head: bigint | null }
  /** a message above GRPC_MAX_MESSAGE_BYTES, met twice at the same position: halted until an operator decides */
  | { kind: 'poison'; error: string }
  | { kind: 'stopped' };

export interface StreamLimits {
  stallMs: number;
  backoff: BackoffLimits;
  /** how often GetStatus is asked for the head, ms */
  headMs: number;
}

export interface StreamHost {
  frame(bytes: Uint8Array): void;
  disconnected(): void;
  /** the tick to ask for; 0 is the latest */
  resumeAt(): bigint;
  /** the last tick before the one that is due; null before the first one of a chain */
  had(): bigint | null;
  highest(): bigint | null;
  /** the ring is full: silence is our own doing */
  waiting(): boolean;
  state(state: StreamState): void;
  head(head: bigint): void;
  /** Of HeadWatch. */
  forked(reason: string): void;
  headReached(): void;
  readonly log: LogLine;
}

export interface StreamClock {
  nowMs(): number;
  wallMs(): number;
  random(): number;
}

const TICK_MS = 250;
/** gRPC's code for what our own watchdog found */
const DEADLINE_EXCEEDED = 4;
const UNKNOWN = 2;
/** A halted stream is tried again so often, ms: the sequencer may have been the one that was out of resources. */
const POISON_RETRY_MS = 60_000;

/**
 * Keeps one tick stream open for ever. States: connecting → streaming → (down | stalled) → connecting …; poison stays
 * until a tick comes (one look a minute), stopped until start() is called again.
 *
 * Every attempt has a connection of its own. A stream that is open and silent is found by asking GetStatus: a head
 * beyond what we have means that the stream hangs, an equal one that the chain is quiet.
 */
export class TickStream {
  readonly #options: SourceOptions;
  readonly #limits: StreamLimits;
  readonly #host: StreamHost;
  readonly #clock: StreamClock;
  #connection: SequencerConnection | null = null;
  #timer: NodeJS.Timeout | null = null;
  #retry: NodeJS.Timeout | null = null;
  #attempt = 0;
  readonly #tooLarge: TooLarge;
  #heardMs = 0;
  #heardLately = false;
  #askedHeadMs = 0;
  #streaming = false;
  /** found silent, and not heard since: a stream that is open says nothing against it */
  #stalled = false;
  #asking = false;
  #paused = false;
  /** the ring was full when a stream was due */
  #waitsToOpen = false;
  #skipTo: bigint | null = null;
  readonly #heads: HeadWatch;
  /** how many streams were opened after the first */
  reconnects = 0;

  constructor(options: SourceOptions, limits: StreamLimits, host: StreamHost, clock: StreamClock) {
    this.#options = options;
    this.#limits = limits;
    this.#host = host;
    this.#clock = clock;
    this.#tooLarge = new TooLarge(host);
    this.#heads = new HeadWatch(host);
  }

  /** forkAccepted: an operator goes on although the head is below our position. */
  start(forkAccepted: boolean): void {
    this.stop();
    this.#heads.begin(forkAccepted);
    this.#timer = setInterval(() => this.#watch(), TICK_MS);
    this.#attempt = 0;
    this.#tooLarge.times = 0;
    this.#skipTo = null;
    this.#stalled = false;
    this.#open();
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    if (this.#retry !== null) clearTimeout(this.#retry);
    this.#timer = null;
    this.#retry = null;
    this.#waitsToOpen = false;
    this.#close();
    this.#host.state({ kind: 'stopped' });
  }

  pause(): void {
    this.#paused = true;
    this.#connection?.pause();
  }

  /** Whether the hole before this number may be declared a gap: not while the head says that there is no such tick. */
  mayJump(number: bigint): boolean {
    return this.#heads.mayJump(number);
  }

  resume(): void {
    this.#paused = false;
    this.#heardMs = this.#clock.nowMs();
    this.#connection?.resume();
    if (!this.#waitsToOpen) return;
    this.#waitsToOpen = false;
    this.#open();
  }

  #open(): void {
    this.#retry = null;
    if (this.#paused) {
      // grpc-js buffers without bound what comes on a stream that was paused before its first message
      this.#waitsToOpen = true;
      return;
    }
    const connection = this.#connect();
    if (connection === null) return;
    this.#connection = connection;
    this.#streaming = false;
    this.#heardMs = this.#clock.nowMs();
    if (!this.#stalled && !this.#tooLarge.isHalt) this.#host.state({ kind: 'connecting' });
    const start = this.#skipTo ?? this.#host.resumeAt();
    this.#host.log('info', 'Opening tick stream', { target: this.#options.target, start_tick: start });
    connection.stream(start, {
      frame: (bytes) => {
        if (this.#connection !== connection) return;
        this.#heard();
        this.#host.frame(bytes);
      },
      ended: (failure) => {
        if (this.#connection === connection) void this.#ended(connection, start, failure);
      },
    });
  }

  /** null when it cannot even be made: a certificate that is being replaced, say. */
  #connect(): SequencerConnection | null {
    try {
      return new SequencerConnection(this.#options, () => this.#clock.wallMs());
    } catch (error) {
      const failure = { code: UNKNOWN, text: (error as Error).message };
      this.#down(failure, { kind: 'down', error: failure.text, code: failure.code });
      return null;
    }
  }

  /** For each frame, so no clock here: #watch turns the flag into a time. */
  #heard(): void {
    this.#heardLately = true;
    if (this.#streaming && this.#attempt === 0 && this.#tooLarge.times === 0 && this.#skipTo === null) return;
    this.#tooLarge.times = 0;
    this.#skipTo = null;
    this.#attempt = 0;
    this.#nowStreaming();
  }

  #nowStreaming(): void {
    this.#streaming = true;
    this.#stalled = false;
    this.#host.state({ kind: 'streaming' });
  }

  async #ended(connection: SequencerConnection, start: bigint, failure: StreamFailure): Promise<void> {
    const verdict = streamVerdict(failure.code);
    if (verdict === 'too_large') {
      this.#tooLarge.times += 1;
      if (this.#tooLarge.isHalt) return this.#halt(failure);
    }
    if (verdict === 'position_not_served' && start > 0n && (await this.#openAtOldest(connection, start)))
      return;
    if (this.#connection === connection)
      this.#down(failure, { kind: 'down', error: failure.text, code: failure.code });
  }

  /** Where the position is no longer served: the hole is a gap. */
  async #openAtOldest(connection: SequencerConnection, start: bigint): Promise<boolean> {
    const oldest = await findServed(connection, start, {
      had: () => this.#host.had(),
      answered: (head, had) => this.#heads.answered(head, had, this.#clock.nowMs()),
      isOver: () => this.#connection !== connection,
    });
    if (oldest === null || this.#connection !== connection) return false;
    this.#host.log('warn', 'Position is no longer served; going on at the oldest tick served', {
      wanted: start,
      oldest,
    });
    this.#skipTo = oldest;
    this.#close();
    this.reconnects += 1;
    this.#open();
    return true;
  }

  #halt(failure: StreamFailure): void {
    this.#close();
    this.#tooLarge.tellHalt(failure);
    this.#retry = setTimeout(() => this.#open(), POISON_RETRY_MS);
    void this.#nameTooLarge(failure);
  }

  async #nameTooLarge(failure: StreamFailure): Promise<void> {
    const retry = this.#retry;
    const server = this.#connect();
    if (server === null) return;
    await this.#tooLarge.name(server, failure, () => this.#retry !== retry);
    server.close();
  }

  #down(failure: StreamFailure, state: StreamState): void {
    this.#close();
    this.#stalled = state.kind === 'stalled';
    const waitMs = backoffMs(this.#attempt, this.#limits.backoff, this.#clock.random());
    this.#attempt += 1;
    this.reconnects += 1;
    this.#host.log('warn', 'Stream error (will reconnect)', {
      target: this.#options.target,
      code: failure.code,
      error: failure.text,
      retry_ms: waitMs,
    });
    this.#host.state(state);
    if (this.#retry !== null) clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#open(), waitMs);
  }

  #close(): void {
    const connection = this.#connection;
    this.#connection = null;
    this.#streaming = false;
    if (connection === null) return;
    connection.close();
    this.#heads.forgetJump();
    this.#host.disconnected();
  }

  #watch(): void {
    const connection = this.#connection;
    if (connection === null) return;
    if (!this.#streaming && !this.#stalled && !this.#tooLarge.isHalt && connection.ready) {
      this.#nowStreaming();
    }
    const nowMs = this.#clock.nowMs();
    if (this.#heardLately || this.#host.waiting()) this.#heardMs = nowMs;
    this.#heardLately = false;
    const silentMs = nowMs - this.#heardMs;
    const stalled = silentMs >= this.#limits.stallMs;
    const askMs = this.#heads.isDoubtful ? DOUBT_MS : this.#limits.headMs;
    if (this.#asking || (!stalled && nowMs - this.#askedHeadMs < askMs)) return;
    void this.#askHead(connection, stalled ? silentMs : null);
  }

  async #askHead(connection: SequencerConnection, silentMs: number | null): Promise<void> {
    this.#asking = true;
    this.#askedHeadMs = this.#clock.nowMs();
    const had = this.#host.had();
    let head: bigint | null = null;
    try {
      head = await connection.head();
    } catch {
      // an unanswered GetStatus only matters while the stream is silent as well
    }
    this.#asking = false;
    if (this.#connection !== connection) return;
    if (head !== null) this.#host.head(head);
    if (head !== null) this.#heads.answered(head, had, this.#clock.nowMs());
    // a halt stops the stream
    if (this.#connection !== connection) return;
    if (silentMs === null || this.#heardLately) return;
    if (head !== null && this.#hasAll(head)) {
      this.#heardMs = this.#clock.nowMs();
      if (this.#stalled) this.#nowStreaming();
      return;
    }
    this.#host.log('warn', 'Stream is open and silent; reconnecting', { silent_ms: silentMs, head });
    const failure = { code: DEADLINE_EXCEEDED, text: `no tick for ${Math.round(silentMs)} ms` };
    this.#down(failure, { kind: 'stalled', silentMs, head });
  }

  /** The chain is quiet: there is nothing beyond what we have, or nothing yet of what we ask for. */
  #hasAll(head: bigint): boolean {
    const highest = this.#host.highest();
    if (highest !== null) return head <= highest;
    const start = this.#host.resumeAt();
    return start === 0n ? head === 0n : head < start;
  }
}
