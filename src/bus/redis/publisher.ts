import { Command, type Redis } from 'ioredis';
import { partitionOf } from '../../core/bus/partitions.ts';
import { BusError, type OutgoingRecord } from '../bus.ts';
import { encodeBatch, streamKey } from './entry.ts';
import type { RedisConnection } from './connection.ts';
import { toBusError } from './errors.ts';

const BATCH_RECORDS_MAX = 1000;
const BATCH_BYTES_MAX = 1024 * 1024;
/** the default of proto-max-bulk-len */
const RECORD_BYTES_MAX = 512 * 1024 * 1024;
/** limit for the answer to a batch, ms: appendfsync always on a slow disk takes long */
const PUBLISH_MS = 30_000;
/** WAITAOF gives up after this time, ms */
const FSYNC_MS = 20_000;

interface Entry {
  key: string;
  record: OutgoingRecord;
}

/**
 * XADDs in transactions of up to a thousand: when one is refused (out of memory), none of its records is stored, so later
 * records of a key cannot get in front of those to be repeated. One transaction at a time, for the same reason.
 */
export class RedisPublisher {
  readonly #connection: RedisConnection;
  readonly #waitsForDisk: boolean;

  /** `waitsForDisk`: WAITAOF after each batch (Redis 7.2 and later) */
  constructor(connection: RedisConnection, waitsForDisk: boolean) {
    this.#connection = connection;
    this.#waitsForDisk = waitsForDisk;
  }

  async publish(topic: string, partitions: number, records: readonly OutgoingRecord[]): Promise<string[]> {
    const keys = Array.from({ length: partitions }, (_, at) => streamKey(topic, at, partitions));
    const positions: string[] = [];
    let batch: Entry[] = [];
    let bytes = 0;
    const flush = async (): Promise<void> => {
      if (batch.length > 0) for (const position of await this.#send(batch)) positions.push(position);
      batch = [];
      bytes = 0;
    };
    for (const record of records) {
      if (record.data.byteLength > RECORD_BYTES_MAX) {
        throw new BusError('refused', `a record of ${record.data.byteLength} bytes is too large for Redis`);
      }
      if (batch.length === BATCH_RECORDS_MAX || bytes + record.data.byteLength > BATCH_BYTES_MAX)
        await flush();
      batch.push({ key: keys[partitionOf(record.key, partitions)], record });
      bytes += record.data.byteLength;
    }
    await flush();
    return positions;
  }

  async #send(batch: readonly Entry[]): Promise<string[]> {
    try {
      return await this.#connection.run(PUBLISH_MS, async (client) => {
        const positions = await sendTransaction(client, encodeBatch(batch), batch.length);
        if (positions === null) throw new BusError('unreachable', 'the transaction was not executed');
        if (this.#waitsForDisk) await waitForDisk(client);
        return positions;
      });
    } catch (error) {
      throw toBusError(error, `publishing to ${batch[0].key}`);
    }
  }
}

/** A command whose bytes are written elsewhere. */
class Written extends Command {
  override toWritable(): string {
    return '';
  }
}

/** takes the place of the socket for commands whose bytes were written already */
const nowhere = { write: () => true } as unknown as Redis['stream'];

/**
 * Writes a transaction of `count` commands in one piece, and returns their answers; null when a watched key was changed. A
 * single Command is queued for all answers but the last: an object and a promise for each XADD would cost more than
 * everything else.
 */
export async function sendTransaction(
  client: Redis,
  bytes: Uint8Array,
  count: number,
): Promise<string[] | null> {
  let refusal: Error | null = null;
  const queued = new Written('xadd');
  queued.resolve = () => {};
  queued.reject = (error) => (refusal ??= error);
  for (let at = 0; at <= count; at++) void client.sendCommand(queued, nowhere); // MULTI and each XADD
  const executed = new Written('exec');
  const answer = client.sendCommand(executed, nowhere) as Promise<(Buffer | Error)[] | null>;
  client.stream.write(bytes);
  let answers: (Buffer | Error)[] | null;
  try {
    answers = await answer;
  } catch (error) {
    throw (refusal as Error | null) ?? error; // EXECABORT only tells that a command was refused
  }
  if (answers === null) return null;
  if (answers.length !== count) throw new BusError('unreachable', 'the transaction was not executed');
  return answers.map((each) => {
    if (each instanceof Error) throw each;
    return each.toString('latin1');
  });
}

async function waitForDisk(client: Redis): Promise<void> {
  const [local] = (await client.call('WAITAOF', '1', '0', String(FSYNC_MS))) as [number, number];
  if (local < 1)
    throw new BusError('unreachable', `the append-only file was not on disk within ${FSYNC_MS} ms`);
}
