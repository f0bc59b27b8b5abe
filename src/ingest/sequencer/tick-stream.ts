import type { Env } from '../../core/env.ts';
import { backoffMs, streamVerdict, type CallFailure } from '../../core/retry.ts';
import { CatchUp } from './catch-up.ts';
import { HeadWatch } from './head-watch.ts';
import { findOldestServed } from './oldest-served.ts';
import { SequencerConnection, type SourceOptions, type StreamFailure } from './connection.ts';
import { OversizedMessages } from './oversized.ts';
import { SilenceWatch } from './silence-watch.ts';
import type { StreamHost, StreamLimits, StreamState } from './stream-host.ts';

/** The timer interval of the watchdog and the head queries, ms. */
const WATCH_MS = 250;
/** gRPC's code for what our own watchdog detected */
const DEADLINE_EXCEEDED = 4;
const UNKNOWN = 2;
/** Between two attempts of a halted stream, ms: the sequencer itself may have run out of resources. */
const POISON_RETRY_MS = 60_000;

/**
 * What operators are shown stays while the stream is reopened, until something disproves it: a stream that merely opens
 * disproves neither a stall nor an oversized message.
 */
type Doubt = 'stalled' | 'oversized' | null;

type State =
  | { kind: 'stopped' }
  | { kind: 'parked'; doubt: Doubt }
  | { kind: 'asking'; connection: SequencerConnection; doubt: Doubt }
  | { kind: 'opening'; connection: SequencerConnection; doubt: Doubt }
  | { kind: 'open'; connection: SequencerConnection }
  | { kind: 'flowing'; connection: SequencerConnection }
  | { kind: 'waiting'; timer: NodeJS.Timeout; doubt: Doubt };

/**
 * Keeps one tick stream open, reconnecting without a limit.
 *
 *   state    what it is                            event                                  next
 *   stopped                                        start()                                asking
 *   parked   the ring is full, so it is not        resume()                               asking
 *            opened
 *   asking   a new connection: is its head below   it is not, or it has caught up         opening
 *            our position? (CatchUp)               no answer while it is                  waiting
 *   opening  a stream was requested on it          the channel is ready, without doubt    open
 *                                                  GetStatus: nothing new, after a stall  open
 *                                                  first frame                            flowing
 *   open     connected, and no frame yet           first frame                            flowing
 *   flowing  frames arrive: earlier failures are   –
 *            forgotten
 *   waiting  the connection is closed; a new one   the delay is over                      asking
 *            follows after a delay
 *
 *   opening, open and flowing end the same way:    error, end or silence                  waiting, then longer
 *                                                  message too large twice at a position  waiting a minute (halt)
 *                                                  position no longer served              asking, then the oldest tick
 *                                                  head below our position                asking
 *   asking and opening are entered as parked while the stream is paused; stop() leads from every state to stopped.
 *
 * Every attempt has its own connection. An open but silent stream is diagnosed by GetStatus: a head beyond what we have
 * means that the stream hangs, an equal one that the chain is quiet.
 */
export class TickStream {
  readonly #options: SourceOptions;
  readonly #limits: StreamLimits;
  readonly #env: Env;
  readonly #host: StreamHost;
  readonly #oversized: OversizedMessages;
  readonly #heads: HeadWatch;
  readonly #catchUp: CatchUp;
  readonly #silence: SilenceWatch;
  #state: State = { kind: 'stopped' };
  #watchdog: NodeJS.Timeout | null = null;
  /** consecutive failures, without a frame between them */
  #attempt = 0;
  /** the oldest tick served, in place of a position that is not; until a frame arrives */
  #skipTo: bigint | null = null;
  /** paused by the ring, in any state */
  #paused = false;
  /** absolute, since the thread started */
  reconnects = 0;

  constructor(options: SourceOptions, limits: StreamLimits, env: Env, host: StreamHost) {
    this.#options = options;
    this.#limits = limits;
    this.#env = env;
    this.#host = host;
    this.#oversized = new OversizedMessages(env.log, host);
    this.#heads = new HeadWatch(env.log, host, (head, had, now) => this.#below(head, had, now));
    this.#catchUp = new CatchUp(env.log, host, (connection) => this.#connection !== connection);
    this.#silence = new SilenceWatch(limits, env.clock, {
      waiting: () => host.waiting(),
      had: () => host.had(),
      isDoubtful: () => this.#heads.isDoubtful,
      isOver: (connection) => this.#connection !== connection,
      answered: (head, had) => {
        host.head(head);
        this.#heads.answered(head, had, env.clock.monotonicMs());
      },
    });
  }

  /** forkAccepted: an operator chose to continue although the head is below our position. */
  start(forkAccepted: boolean): void {
    this.stop();
    this.#heads.begin(forkAccepted);
    this.#catchUp.begin();
    this.#watchdog = setInterval(() => void this.#watch(), WATCH_MS);
    this.#attempt = 0;
    this.#oversized.times = 0;
    this.#skipTo = null;
    this.#open(null);
  }

  stop(): void {
    if (this.#watchdog !== null) clearInterval(this.#watchdog);
    this.#watchdog = null;
    this.#leave({ kind: 'stopped' });
    this.#host.state({ kind: 'stopped' });
  }

  pause(): void {
    this.#paused = true;
    this.#connection?.pause();
  }

  resume(): void {
    this.#paused = false;
    this.#silence.restart();
    this.#connection?.resume();
    if (this.#state.kind === 'parked') this.#open(this.#doubt);
  }

  /** Whether the hole before this number may be declared a gap: not while the head says that no such tick exists. */
  mayJump(number: bigint): boolean {
    return this.#heads.mayJump(number);
  }

  get #connection(): SequencerConnection | null {
    return 'connection' in this.#state ? this.#state.connection : null;
  }

  get #doubt(): Doubt {
    return 'doubt' in this.#state ? this.#state.doubt : null;
  }

  /** Ends what belongs to the current state: its connection or its timer. */
  #leave(next: State): void {
    const connection = this.#connection;
    if (this.#state.kind === 'waiting') clearTimeout(this.#state.timer);
    this.#state = next;
    if (connection === null) return;
    connection.close();
    this.#heads.forgetJump();
    this.#host.disconnected();
  }

  #open(doubt: Doubt): void {
    if (this.#paused) return this.#leave({ kind: 'parked', doubt });
    const connection = this.#connect();
    if (connection === null) return;
    this.#leave({ kind: 'asking', connection, doubt });
    if (doubt === null) this.#host.state({ kind: 'connecting' });
    if (this.#heads.isAccepted) this.#request(connection, doubt);
    else void this.#ask(connection, doubt);
  }

  async #ask(connection: SequencerConnection, doubt: Doubt): Promise<void> {
    try {
      if (await this.#catchUp.admits(connection)) this.#request(connection, doubt);
    } catch (error) {
      if (this.#connection !== connection) return;
      const { code = UNKNOWN } = error as CallFailure;
      this.#retry({ code, text: (error as Error).message });
    }
  }

  #request(connection: SequencerConnection, doubt: Doubt): void {
    // grpc-js buffers without a bound what arrives on a stream that was paused before its first message
    if (this.#paused) return this.#leave({ kind: 'parked', doubt });
    this.#state = { kind: 'opening', connection, doubt };
    this.#silence.restart();
    const start = this.#skipTo ?? this.#host.resumeAt();
    this.#env.log('info', 'Opening tick stream', { target: this.#options.target, start_tick: start });
    connection.stream(start, {
      frame: (bytes) => {
        this.#silence.heardLately = true;
        if (this.#state.kind !== 'flowing') this.#flow(connection);
        this.#host.frame(bytes);
      },
      ended: (failure) => void this.#ended(connection, start, failure),
    });
  }

  /** null when it cannot even be created: a certificate that is being replaced, say. */
  #connect(): SequencerConnection | null {
    try {
      return new SequencerConnection(this.#options, this.#env.clock);
    } catch (error) {
      this.#retry({ code: UNKNOWN, text: (error as Error).message });
      return null;
    }
  }

  #flow(connection: SequencerConnection): void {
    const isTold = this.#state.kind === 'open';
    this.#state = { kind: 'flowing', connection };
    this.#oversized.times = 0;
    this.#skipTo = null;
    this.#attempt = 0;
    if (!isTold) this.#host.state({ kind: 'streaming' });
  }

  #connected(connection: SequencerConnection): void {
    this.#state = { kind: 'open', connection };
    this.#host.state({ kind: 'streaming' });
  }

  async #ended(connection: SequencerConnection, start: bigint, failure: StreamFailure): Promise<void> {
    const verdict = streamVerdict(failure);
    if (verdict === 'too_large') {
      this.#oversized.times += 1;
      if (this.#oversized.isHalt) return this.#halt(failure);
    }
    if (verdict === 'position_not_served' && start > 0n && (await this.#openAtOldest(connection, start)))
      return;
    if (this.#connection === connection) this.#retry(failure);
  }

  /** Continues at the oldest tick when the position is no longer served: the hole is a gap. */
  async #openAtOldest(connection: SequencerConnection, start: bigint): Promise<boolean> {
    const oldest = await findOldestServed(connection, start, {
      had: () => this.#host.had(),
      answered: (head, had) => this.#heads.answered(head, had, this.#env.clock.monotonicMs()),
      isOver: () => this.#connection !== connection,
    });
    if (oldest === null || this.#connection !== connection) return false;
    this.#env.log('warn', 'Position is no longer served; going on at the oldest tick served', {
      wanted: start,
      oldest,
    });
    this.#skipTo = oldest;
    this.reconnects += 1;
    this.#open(this.#doubt);
    return true;
  }

  /** now: the last tick before the one that is due by now. */
  #below(head: bigint, had: bigint, now: bigint): void {
    const connection = this.#connection;
    if (connection === null) return;
    if (now > had) return void this.#catchUp.lookBeside(connection, head, had);
    this.#catchUp.doubt();
    this.reconnects += 1;
    this.#open(this.#doubt);
  }

  #halt(failure: StreamFailure): void {
    const waiting = this.#wait(POISON_RETRY_MS, 'oversized');
    this.#oversized.tellHalt(failure);
    void this.#nameOversized(failure, waiting);
  }

  async #nameOversized(failure: StreamFailure, waiting: State): Promise<void> {
    const server = this.#connect();
    if (server === null) return;
    await this.#oversized.name(server, failure, () => this.#state !== waiting);
    server.close();
  }

  /** shown: what operators are shown, if different from the failure itself. */
  #retry(failure: StreamFailure, shown?: StreamState & { kind: 'stalled' }): void {
    const { backoff, limited } = this.#limits;
    const limits = streamVerdict(failure) === 'limited' ? limited : backoff;
    const waitMs = backoffMs(this.#attempt, limits, this.#env.random());
    this.#attempt += 1;
    this.reconnects += 1;
    this.#wait(waitMs, this.#oversized.isHalt ? 'oversized' : (shown?.kind ?? null));
    this.#env.log('warn', 'Stream error (will reconnect)', {
      target: this.#options.target,
      code: failure.code,
      error: failure.text,
      retry_ms: waitMs,
    });
    this.#host.state(shown ?? { kind: 'down', error: failure.text, code: failure.code });
  }

  #wait(ms: number, doubt: Doubt): State {
    const waiting: State = { kind: 'waiting', timer: setTimeout(() => this.#open(doubt), ms), doubt };
    this.#leave(waiting);
    return waiting;
  }

  async #watch(): Promise<void> {
    const connection = this.#connection;
    if (connection === null || this.#state.kind === 'asking') return;
    if (this.#state.kind === 'opening' && this.#state.doubt === null && connection.ready)
      this.#connected(connection);
    const silence = await this.#silence.look(connection);
    if (silence === null) return;
    const { silentMs, head } = silence;
    if (head !== null && this.#hasAll(head)) {
      this.#silence.restart();
      if (this.#doubt === 'stalled') this.#connected(connection);
      return;
    }
    this.#env.log('warn', 'Stream is open and silent; reconnecting', { silent_ms: silentMs, head });
    const failure = { code: DEADLINE_EXCEEDED, text: `no tick for ${Math.round(silentMs)} ms` };
    this.#retry(failure, { kind: 'stalled', silentMs, head });
  }

  /** The chain is quiet: there is nothing beyond what we have, or nothing yet at the tick we request. */
  #hasAll(head: bigint): boolean {
    const highest = this.#host.highest();
    if (highest !== null) return head <= highest;
    const start = this.#host.resumeAt();
    return start === 0n ? head === 0n : head < start;
  }
}
