/**
 * A client of the sequencer as anybody would write one: @grpc/grpc-js with definitions from the proto file. Only tx_id is
 * declared as bytes, because the simulator can be asked for some that are no UTF-8.
 */
import * as grpc from '@grpc/grpc-js';
import { fromJSON } from '@grpc/proto-loader';
import { readFileSync } from 'node:fs';
import protobuf from 'protobufjs';
import type { OracleTick } from './oracle.ts';

const proto = readFileSync(new URL('../../../proto/continuum.proto', import.meta.url), 'utf8');
const schema = protobuf.parse(proto.replace('string tx_id', 'bytes tx_id'), { keepCase: true }).root;
const definition = fromJSON(schema.toJSON(), { keepCase: true, longs: String, defaults: true });
const { SequencerService } = (
  grpc.loadPackageDefinition(definition) as unknown as {
    continuum: { sequencer: { v1: { SequencerService: grpc.ServiceClientConstructor } } };
  }
).continuum.sequencer.v1;

export interface Status {
  current_tick: string;
  total_transactions: string;
  pending_transactions: string;
  uptime_seconds: string;
  transactions_per_second: number;
}

export interface ChainState {
  chain_height: string;
  total_transactions: string;
  recent_ticks: OracleTick[];
  tx_to_tick_sample: Record<string, string>;
}

/** How a stream was over; code 0 with the client's own cancel(). */
export interface Received {
  ticks: OracleTick[];
  code: number;
  details: string;
}

type Unary = (request: object, done: (error: grpc.ServiceError | null, reply?: unknown) => void) => void;

export class SequencerClient {
  readonly #client: grpc.Client & Record<string, Unary>;

  constructor(address: string) {
    this.#client = new SequencerService(address, grpc.credentials.createInsecure(), {
      'grpc.max_receive_message_length': 128 * 1024 * 1024,
    }) as unknown as grpc.Client & Record<string, Unary>;
  }

  getTick(number: bigint): Promise<{ tick: OracleTick | null; found: boolean }> {
    return this.#unary('GetTick', { tick_number: String(number) });
  }

  getStatus(): Promise<Status> {
    return this.#unary('GetStatus', {});
  }

  getChainState(limit: number): Promise<ChainState> {
    return this.#unary('GetChainState', { tick_limit: limit });
  }

  /** The open stream itself, for tests of flow control. */
  open(start: bigint): grpc.ClientReadableStream<OracleTick> {
    const call = (this.#client as unknown as Record<string, (request: object) => unknown>)['StreamTicks']({
      start_tick: String(start),
    });
    return call as grpc.ClientReadableStream<OracleTick>;
  }

  /** The messages' bytes as they came, for what cannot be decoded. */
  openRaw(start: bigint): grpc.ClientReadableStream<Buffer> {
    return this.#client.makeServerStreamRequest<bigint, Buffer>(
      '/continuum.sequencer.v1.SequencerService/StreamTicks',
      (number) =>
        Buffer.from(
          schema
            .lookupType('StreamTicksRequest')
            .encode({ start_tick: String(number) })
            .finish(),
        ),
      (bytes) => bytes,
      start,
    );
  }

  /** Up to `count` messages from `start` on; fewer when the stream ends before. */
  async take(start: bigint, count: number): Promise<Received> {
    const { items, code, details } = await collect(this.open(start), count);
    return { ticks: items, code, details };
  }

  async takeRaw(start: bigint, count: number): Promise<{ frames: Buffer[]; code: number; details: string }> {
    const { items, code, details } = await collect(this.openRaw(start), count);
    return { frames: items, code, details };
  }

  close(): void {
    this.#client.close();
  }

  #unary<Reply>(method: string, request: object): Promise<Reply> {
    return new Promise((resolve, reject) => {
      this.#client[method](request, (error, reply) =>
        error === null ? resolve(reply as Reply) : reject(error),
      );
    });
  }
}

export function collect<Item>(
  call: grpc.ClientReadableStream<Item>,
  count: number,
): Promise<{ items: Item[]; code: number; details: string }> {
  return new Promise((resolve) => {
    const items: Item[] = [];
    call.on('data', (item: Item) => {
      if (items.length === count) return;
      items.push(item);
      if (items.length < count) return;
      resolve({ items, code: 0, details: '' });
      call.cancel();
    });
    call.on('error', (error: grpc.ServiceError) =>
      resolve({ items, code: error.code, details: error.details }),
    );
    call.on('end', () => resolve({ items, code: 0, details: '' }));
  });
}

/** A tick's message as this client's own protobuf understands it. */
export function decodeMessage(bytes: Buffer): OracleTick {
  const type = schema.lookupType('continuum.sequencer.v1.Tick');
  return type.toObject(type.decode(bytes), {
    longs: String,
    bytes: Buffer,
    defaults: true,
    arrays: true,
  }) as OracleTick;
}
