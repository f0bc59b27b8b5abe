import type { Client } from 'pg';
import { makeGroup } from '../../store/bus/groups.ts';
import type { StoredRecord } from '../../store/bus/log.ts';
import { BusListener } from '../../store/bus/listener.ts';
import { Session, connectDurable } from '../../store/postgres/session.ts';
import { BusError, type BusOptions, type Delivery } from '../bus.ts';
import { busError } from './errors.ts';
import { logsOf, partitionOfLog } from './logs.ts';

/** a call without an answer for this long has failed, ms; above the server's own limit for a statement */
const ANSWER_MS = 30_000;
/** a waiting call looks by itself this often: with notifications, and without them, ms */
const POLL_MS = 1000;
const POLL_UNNOTIFIED_MS = 200;

/** What the parts of one postgres bus share: sessions, timers and the listener for notifications. */
export class PostgresSessions {
  readonly options: BusOptions;
  readonly listener: BusListener;
  readonly #databaseUrl: string;
  readonly #sessions = new Set<Session>();
  readonly #timers = new Set<() => void>();

  constructor(databaseUrl: string, options: BusOptions) {
    this.#databaseUrl = databaseUrl;
    this.options = options;
    this.listener = new BusListener(() => this.#connect('listen'), options.env);
  }

  /** A connection for one purpose alone; it is made with the first call. */
  open(purpose: string): BusSession {
    const session = new Session(() => this.#connect(purpose), ANSWER_MS);
    this.#sessions.add(session);
    return {
      async run(work) {
        try {
          return await session.run(work);
        } catch (error) {
          throw busError(error);
        }
      },
      close: async () => {
        this.#sessions.delete(session);
        await session.close();
      },
    };
  }

  /**
   * Repeats work until the function it returns is called or the bus is closed. The work must not reject; while it runs it is
   * not begun again, so that calls to a silent server do not pile up.
   */
  every(ms: number, work: () => Promise<void> | void): () => void {
    let isUnderWay = false;
    const turn = async (): Promise<void> => {
      if (isUnderWay) return;
      isUnderWay = true;
      await work();
      isUnderWay = false;
    };
    const timer = setInterval(() => void turn(), ms).unref();
    const end = (): void => {
      clearInterval(timer);
      this.#timers.delete(end);
    };
    this.#timers.add(end);
    return end;
  }

  partitions(topic: string): number {
    const { partitions } = this.options;
    return Object.hasOwn(partitions, topic) ? partitions[topic] : 1;
  }

  /**
   * Creates the group where its checkpoints say, else at the beginning. Does nothing when it exists.
   * @param logs those that it reads (default: of all partitions)
   */
  async makeGroup(client: Client, topic: string, group: string, logs?: readonly number[]): Promise<void> {
    const { checkpoints } = this.options;
    const partitions = this.partitions(topic);
    await makeGroup(client, { topic, group }, logs ?? logsOf(partitions), async (log) => {
      const checkpoint = await checkpoints.read(topic, group, partitionOfLog(log, partitions));
      // a checkpoint of another kind of bus means nothing here
      return checkpoint === null || !OFFSET.test(checkpoint) ? null : BigInt(checkpoint);
    });
  }

  /**
   * What `look` returns, as soon as it returns something; [] after waitMs without anything. `look` is called at once, after
   * each notification of the topic, and every second.
   */
  async waitFor<T>(
    session: BusSession,
    topic: string,
    waitMs: number,
    look: () => Promise<T[]>,
  ): Promise<T[]> {
    const over = Promise.withResolvers<void>();
    let isOver = waitMs <= 0;
    const timer = setTimeout(() => {
      isOver = true;
      over.resolve();
    }, waitMs);
    try {
      for (;;) {
        const count = this.listener.count(topic);
        const found = await look();
        if (found.length > 0 || isOver) return found;
        if (await session.run((client) => this.listener.register(client, topic))) continue;
        await this.listener.wait(
          topic,
          count,
          this.listener.isListening ? POLL_MS : POLL_UNNOTIFIED_MS,
          over.promise,
        );
      }
    } finally {
      clearTimeout(timer);
    }
  }

  async close(): Promise<void> {
    for (const end of this.#timers) end();
    await Promise.all([this.listener.close(), ...[...this.#sessions].map((session) => session.close())]);
  }

  #connect(purpose: string): Promise<Client> {
    return connectDurable(this.#databaseUrl, `${this.options.clientName} bus ${purpose}`);
  }
}

/** Rejects with BusError. */
export interface BusSession {
  run<T>(work: (client: Client) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

const OFFSET = /^\d{1,19}$/;

/** @throws BusError when this is no position of this bus */
export function offsetOf(position: string): bigint {
  if (OFFSET.test(position)) return BigInt(position);
  throw new BusError('setup', `${position} is no position of the postgres bus: was the kind of bus changed?`);
}

export function deliveryOf(
  topic: string,
  partition: number,
  record: StoredRecord,
  attempts: number,
): Delivery {
  return {
    topic,
    partition,
    position: record.offset.toString(),
    takenMs: Number(record.takenMicros / 1000n),
    key: record.key,
    eventId: record.eventId,
    encoding: record.encoding,
    data: record.data,
    attempts,
  };
}
