import { acceptEvent } from '../core/market/accept.ts';
import type { Providers } from '../core/market/identity/providers.ts';
import {
  BusError,
  INBOX_GROUP,
  type Delivery,
  type OutgoingRecord,
  type StreamBus,
  type TopicInbox,
} from '../bus/bus.ts';
import { Ownership, type OwnedPartition } from '../bus/ownership.ts';
import type { StoreClient } from '../store/store-client.ts';
import type { ServerCalls } from './server-calls.ts';

export interface InboxMoverOptions {
  bus: StreamBus;
  topic: string;
  /** unique among living members of all roles */
  member: string;
  /** what is declared of providers: it may give a symbol another name, and so another partition */
  providers: Providers;
  /** for a connection of its own */
  store: Pick<StoreClient, 'connect'>;
  /** a permanent error: nothing more is moved by this one */
  onBroken: (error: Error) => void;
  calls: ServerCalls;
}

/** records of one read, and bytes of one move, as far as records are smaller */
const READ_RECORDS = 1_000;
const MOVE_BYTES = 1024 * 1024;
/** how long a read waits for the first record, ms; stop() waits for it at most this long */
const WAIT_MS = 1_000;

/**
 * Moves what is put under a topic's own name to the partitions of its symbols, in order. Every member of every role that
 * reads the topic has one: the holder of the lease works, the others stand by.
 *
 *   inbox ─► symbol ─► one transaction of the bus: into the partitions · moved up to here
 *
 * The bus makes a move once, so that a lease that is lost without knowing, or an answer that does not come, moves nothing
 * twice. A record without a readable symbol is moved as well: the roles refuse it in its partition.
 */
export class InboxMover {
  readonly #options: InboxMoverOptions;
  readonly #working = new Map<OwnedPartition, { stopping: AbortController; ended: Promise<void> }>();
  #ownership: Ownership | null = null;

  private constructor(options: InboxMoverOptions) {
    this.#options = options;
  }

  /** Null: the topic has no inbox. Rejects when `signal` aborts, or with a permanent error. */
  static async start(options: InboxMoverOptions, signal: AbortSignal): Promise<InboxMover | null> {
    const { bus, store, topic, member, calls } = options;
    if (!bus.hasInbox(topic)) return null;
    const mover = new InboxMover(options);
    const start = (): Promise<Ownership> =>
      Ownership.start({
        // a lease of its own: the topic has more partitions
        topic: `${topic}.inbox`,
        group: INBOX_GROUP,
        role: 'inbox',
        member,
        partitions: 1,
        connect: () => store.connect('inbox'),
        onAssign: (owned) => mover.#assign(owned),
        onRevoke: (owned) => mover.#end(owned),
        onLost: (owned) => void mover.#end(owned),
        onNameTaken: options.onBroken,
        env: calls.env,
      });
    mover.#ownership = await calls.database(start, signal, isPassing);
    return mover;
  }

  /** Gives the lease back. */
  async close(): Promise<void> {
    await this.#ownership?.close();
    await Promise.all([...this.#working.keys()].map((owned) => this.#end(owned)));
  }

  #assign(owned: OwnedPartition): void {
    const stopping = new AbortController();
    const ended = this.#work(stopping.signal)
      .catch((error: unknown) => {
        if (!stopping.signal.aborted) this.#options.onBroken(error as Error);
      })
      .finally(() => this.#working.delete(owned));
    this.#working.set(owned, { stopping, ended });
  }

  async #end(owned: OwnedPartition): Promise<void> {
    const found = this.#working.get(owned);
    found?.stopping.abort();
    await found?.ended;
  }

  async #work(signal: AbortSignal): Promise<void> {
    const { bus, topic, member, calls } = this.#options;
    while (!signal.aborted) {
      const inbox = await calls.bus(() => bus.openInbox(topic, member), signal);
      try {
        await this.#move(inbox, signal);
      } finally {
        await inbox.close().catch(() => {});
      }
    }
  }

  /** Until somebody else moved what this inbox returned. */
  async #move(inbox: TopicInbox, signal: AbortSignal): Promise<void> {
    const { topic, providers, calls } = this.#options;
    const read = (): Promise<Delivery[]> => {
      const reading = calls.bus(() => inbox.next(READ_RECORDS, WAIT_MS), signal);
      reading.catch(() => {}); // handled when awaited in the next turn, if there is one
      return reading;
    };
    let reading = read();
    while (!signal.aborted) {
      const deliveries = await reading;
      // when behind, the next read overlaps with this move
      const isBehind = deliveries.length === READ_RECORDS;
      if (isBehind) reading = read();
      for (const part of partsOf(deliveries)) {
        const records = part.map((delivery) => recordOf(delivery, providers));
        if (!(await calls.bus(() => inbox.move(part.at(-1)!.position, records), signal))) return;
        calls.meter.count('bus_forwarded_total', { topic, group: INBOX_GROUP }, records.length);
      }
      if (!isBehind) reading = read();
    }
  }
}

/** Its bytes as they are: whoever reads them in their partition refuses or counts what is wrong with them. */
function recordOf(delivery: Delivery, providers: Providers): OutgoingRecord {
  const { data, encoding, takenMs, key, eventId } = delivery;
  const bytes = data ?? new Uint8Array(0);
  const event = acceptEvent(bytes, encoding, takenMs, providers);
  const known =
    event.kind === 'refused' ? { key: key ?? '', eventId } : { key: event.symbol, eventId: event.eventId };
  return { ...known, data: bytes, encoding };
}

/** In order; each is one transaction. */
function partsOf(deliveries: readonly Delivery[]): Delivery[][] {
  const parts: Delivery[][] = [];
  let bytes = Infinity;
  for (const delivery of deliveries) {
    const size = delivery.data?.byteLength ?? 0;
    if (bytes + size > MOVE_BYTES) {
      parts.push([]);
      bytes = 0;
    }
    parts.at(-1)!.push(delivery);
    bytes += size;
  }
  return parts;
}

function isPassing(error: unknown): boolean {
  return !(error instanceof BusError && error.kind === 'setup');
}
