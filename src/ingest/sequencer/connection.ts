import { fileURLToPath } from 'node:url';
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import * as grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { tickOfAnswer } from '../../core/chain/wire.ts';
import type { Env } from '../../core/env.ts';
import { backoffMs, type BackoffLimits } from '../../core/retry.ts';
import type { Clock } from '../../core/time.ts';

/** Where the sequencer is and how to connect to it. */
export interface SourceOptions {
  /** host:port */
  target: string;
  /** null is plaintext */
  tls: SourceTls | null;
  /** GRPC_MAX_MESSAGE_BYTES */
  messageBytesMax: number;
}

export interface SourceTls {
  caFile: string | null;
  certFile: string | null;
  keyFile: string | null;
  /** only when the certificate's name differs from the target's host */
  serverName: string | null;
}

export interface StreamEvents {
  /** One raw Tick message; the receiver may keep the bytes. */
  frame(bytes: Uint8Array): void;
  /** The stream is over; nothing more arrives from it. Called once. */
  ended(failure: StreamFailure): void;
}

export interface StreamFailure {
  /** gRPC status code, 0 when the server ended the stream without an error */
  code: number;
  text: string;
  /** our own side refused a message for its size: one above GRPC_MAX_MESSAGE_BYTES */
  isTooLarge?: boolean;
}

/** What calls reject with when the server was asked. */
type CallError = grpc.ServiceError & { isTooLarge: boolean };

/** The requests to a sequencer: one open stream, and calls beside it. */
export interface TickServer {
  /** Its latest tick. Rejects with a CallError. */
  head(): Promise<bigint>;
  /**
   * The bytes of one Tick message; null when it is not there (found = false, NOT_FOUND, OUT_OF_RANGE).
   * Rejects with a CallError, or a RangeError when the answer cannot be read.
   */
  tick(number: bigint): Promise<Uint8Array | null>;
  /** Opens the tick stream at `start`; 0 is the latest tick. Frames arrive undecoded. */
  stream(start: bigint, events: StreamEvents): void;
  /** Flow control: no further frame is delivered, and the flow-control window towards the sequencer closes. */
  pause(): void;
  resume(): void;
  /** The open stream reports nothing more. */
  endStream(): void;
  close(): void;
}

const PROTO = fileURLToPath(new URL('../../../proto/continuum.proto', import.meta.url));
const STREAM_PATH = '/continuum.sequencer.v1.SequencerService/StreamTicks';
const TICK_PATH = '/continuum.sequencer.v1.SequencerService/GetTick';
/** How far the sequencer may send ahead. The default of 64 KiB gave a third of the rate, 4 MiB no more than this. */
const FLOW_WINDOW_BYTES = 1024 * 1024;
/** Servers answer faster pings with GOAWAY too_many_pings; silence is left to the stall watchdog. */
const KEEPALIVE_MS = 60_000;
const KEEPALIVE_TIMEOUT_MS = 20_000;
const UNARY_DEADLINE_MS = 5_000;

interface StatusReply {
  current_tick: string;
}

interface TickReply {
  found: boolean;
}

type UnaryCall<Request, Reply> = (
  request: Request,
  options: { deadline: number },
  done: (error: grpc.ServiceError | null, reply?: Reply) => void,
) => void;

type SequencerClient = grpc.Client & {
  GetStatus: UnaryCall<Record<string, never>, StatusReply>;
  GetTick: UnaryCall<{ tick_number: string }, TickReply>;
};

const definition = loadSync(PROTO, { keepCase: true, longs: String, defaults: true });
const { SequencerService } = (
  grpc.loadPackageDefinition(definition) as unknown as {
    continuum: { sequencer: { v1: { SequencerService: grpc.ServiceClientConstructor } } };
  }
).continuum.sequencer.v1;

/**
 * One connection to the sequencer: one open tick stream and the unary calls beside it. A connection that failed is
 * closed and never reused (a grpc-js channel can stay CONNECTING indefinitely after its server restarts).
 */
export class SequencerConnection implements TickServer {
  readonly #client: SequencerClient;
  readonly #clock: Clock;
  readonly #messageBytesMax: number;
  #call: grpc.ClientReadableStream<Uint8Array> | null = null;

  constructor(options: SourceOptions, clock: Clock) {
    this.#clock = clock;
    this.#messageBytesMax = options.messageBytesMax;
    this.#client = new SequencerService(options.target, credentials(options.tls), {
      'grpc.max_receive_message_length': options.messageBytesMax,
      'grpc.keepalive_time_ms': KEEPALIVE_MS,
      'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
      'grpc.use_local_subchannel_pool': 1,
      'grpc.enable_retries': 0,
      'grpc.enable_http_proxy': 0,
      'grpc-node.flow_control_window': FLOW_WINDOW_BYTES,
      ...(options.tls?.serverName == null ? {} : { 'grpc.ssl_target_name_override': options.tls.serverName }),
    }) as unknown as SequencerClient;
  }

  get ready(): boolean {
    return this.#client.getChannel().getConnectivityState(false) === grpc.connectivityState.READY;
  }

  stream(start: bigint, events: StreamEvents): void {
    const call = this.#client.makeServerStreamRequest<{ start_tick: string }, Uint8Array>(
      STREAM_PATH,
      requestSerializer('StreamTicks'),
      (bytes) => bytes,
      { start_tick: start.toString() },
    );
    let over = false;
    const end = (failure: StreamFailure): void => {
      if (over || this.#call !== call) return;
      over = true;
      events.ended(failure);
    };
    call.on('data', (bytes: Uint8Array) => {
      if (!over && this.#call === call) events.frame(bytes);
    });
    call.on('error', (error: grpc.ServiceError) =>
      end({
        code: error.code,
        text: error.details || error.message,
        isTooLarge: isTooLarge(error, this.#messageBytesMax),
      }),
    );
    call.on('end', () => end({ code: 0, text: 'the sequencer ended the stream' }));
    this.#call = call;
  }

  pause(): void {
    this.#call?.pause();
  }

  resume(): void {
    this.#call?.resume();
  }

  endStream(): void {
    const call = this.#call;
    this.#call = null;
    call?.cancel();
  }

  async head(): Promise<bigint> {
    const reply = await this.#unary<StatusReply>((options, done) =>
      this.#client.GetStatus({}, options, done),
    );
    return BigInt(reply.current_tick);
  }

  /** Whether the sequencer still serves this tick. */
  async serves(number: bigint): Promise<boolean> {
    const request = { tick_number: number.toString() };
    const reply = await this.#unary<TickReply>((options, done) =>
      this.#client.GetTick(request, options, done),
    );
    return reply.found;
  }

  async tick(number: bigint): Promise<Uint8Array | null> {
    try {
      const answer = await this.#unary<Uint8Array>((options, done) =>
        this.#client.makeUnaryRequest(
          TICK_PATH,
          requestSerializer('GetTick'),
          (bytes: Buffer): Uint8Array => bytes,
          { tick_number: number.toString() },
          options,
          done,
        ),
      );
      return tickOfAnswer(answer);
    } catch (error) {
      const { code } = error as { code?: number };
      if (code === grpc.status.NOT_FOUND || code === grpc.status.OUT_OF_RANGE) return null;
      throw error;
    }
  }

  close(): void {
    this.endStream();
    this.#client.close();
  }

  #unary<Reply>(
    call: (
      options: { deadline: number },
      done: (error: grpc.ServiceError | null, reply?: Reply) => void,
    ) => unknown,
  ): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const nowMs = Number(this.#clock.nowMicros()) / 1000;
      call({ deadline: nowMs + UNARY_DEADLINE_MS }, (error, reply) => {
        if (error !== null) reject(callError(error, this.#messageBytesMax));
        else if (reply === undefined) reject(new Error('the sequencer sent an empty answer'));
        else resolve(reply);
      });
    });
  }
}

/**
 * Whether grpc-js itself refused a message of the server for its size. Its status code is also what servers send when they
 * limit us, and nothing but its words tells the two apart. They name our own limit: a server that quotes another one, or
 * that found our request too large, is not meant.
 */
function isTooLarge({ code, details }: grpc.ServiceError, messageBytesMax: number): boolean {
  if (code !== grpc.status.RESOURCE_EXHAUSTED) return false;
  if (details === `Received message that decompresses to a size larger than ${messageBytesMax}`) return true;
  const sizes = /^Received message larger than max \((\d+) vs (\d+)\)$/.exec(details);
  return sizes !== null && Number(sizes[2]) === messageBytesMax && Number(sizes[1]) > messageBytesMax;
}

function callError(error: grpc.ServiceError, messageBytesMax: number): CallError {
  return Object.assign(error, { isTooLarge: isTooLarge(error, messageBytesMax) });
}

/** The sequencer's latest tick, over a separate connection. Rejects with a CallError. */
export async function latestTick(options: SourceOptions, clock: Clock): Promise<bigint> {
  const connection = new SequencerConnection(options, clock);
  try {
    return await connection.head();
  } finally {
    connection.close();
  }
}

/** The same, retried until the sequencer answers. Rejects once `isWanted` returns false. */
export async function awaitLatestTick(
  source: SourceOptions,
  backoff: BackoffLimits,
  env: Env,
  isWanted: () => boolean,
): Promise<bigint> {
  for (let attempt = 0; ; attempt += 1) {
    if (!isWanted()) throw new Error('the lease is lost');
    try {
      return await latestTick(source, env.clock);
    } catch (error) {
      env.log('warn', 'The sequencer does not say its latest tick', { error: (error as Error).message });
    }
    await delay(backoffMs(attempt, backoff, env.random()));
  }
}

function requestSerializer(method: string): (request: object) => Buffer {
  const serialize = SequencerService.service[method]?.requestSerialize;
  if (serialize === undefined) throw new Error(`proto/continuum.proto has no ${method}`);
  return serialize;
}

function credentials(tls: SourceTls | null): grpc.ChannelCredentials {
  if (tls === null) return grpc.credentials.createInsecure();
  return grpc.credentials.createSsl(readPem(tls.caFile), readPem(tls.keyFile), readPem(tls.certFile));
}

function readPem(file: string | null): Buffer | null {
  return file === null ? null : readFileSync(file);
}
