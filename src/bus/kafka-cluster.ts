import {
  Admin, ConnectionPool, kGetApi,
  type API, type Broker, type ClusterMetadata,
  type consumerGroupDescribeV0, type consumerGroupHeartbeatV1, type fetchV17, type findCoordinatorV6,
  type heartbeatV4, type initProducerIdV5, type joinGroupV9, type leaveGroupV5, type offsetCommitV9,
  type produceV11, type syncGroupV5,
} from '@platformatic/kafka'; // prettier-ignore
import { setTimeout as delay } from 'node:timers/promises';
import { backoffMs } from '../core/retry.ts';
import { BusError, type BusLog } from './bus.ts';
import { busError, hasCode, KafkaCode, kindOf } from './kafka-errors.ts';

/** The requests that are made without the client's own producer and consumer, in the shape of their newest version. */
interface Calls {
  ConsumerGroupDescribe: typeof consumerGroupDescribeV0.api;
  ConsumerGroupHeartbeat: typeof consumerGroupHeartbeatV1.api;
  Fetch: typeof fetchV17.api;
  FindCoordinator: typeof findCoordinatorV6.api;
  Heartbeat: typeof heartbeatV4.api;
  InitProducerId: typeof initProducerIdV5.api;
  JoinGroup: typeof joinGroupV9.api;
  LeaveGroup: typeof leaveGroupV5.api;
  OffsetCommit: typeof offsetCommitV9.api;
  Produce: typeof produceV11.api;
  SyncGroup: typeof syncGroupV5.api;
}
type Arguments<N extends keyof Calls> = Calls[N] extends API<infer A, unknown> ? A : never;
type Answer<N extends keyof Calls> = Calls[N] extends API<infer _A, infer R> ? R : never;
type AnyApi = API<unknown[], unknown>;

export interface KafkaAccess {
  /** host:port of some brokers; the others are learnt from them */
  brokers: readonly string[];
  sasl?: { mechanism: 'PLAIN' | 'SCRAM-SHA-256' | 'SCRAM-SHA-512'; username: string; password: string };
  /** absent: plain text. `ca`, `cert` and `key` in PEM */
  tls?: { ca?: string; cert?: string; key?: string; servername?: string };
  /** one request may take so long, ms (default 10 s) */
  requestTimeoutMs?: number;
  /** 'classic' keeps to the protocol that every broker has (default: KIP-848 where the brokers have it) */
  groupProtocol?: 'classic';
  /** requests are repeated for so long before the caller is told, ms (default 15 s) */
  retryMs?: number;
}

const REQUEST_TIMEOUT_MS = 10_000;
const RETRY_MS = 15_000;
const METADATA_MAX_AGE_MS = 60_000;
const BACKOFF = { firstMs: 50, maxMs: 1000 };
const CLOSE_MS = 2000;
/** failures of requests one after another, without any success between, after which the client is made anew */
const RENEW_AFTER = 8;

/**
 * Connections, metadata and single requests. Neither the client's producer nor its consumer is used, only its protocol:
 * what is repeated, what a late answer may still change and when a client is thrown away is decided here.
 */
export class KafkaCluster {
  readonly access: KafkaAccess;
  readonly clientName: string;
  readonly log: BusLog;
  readonly nowMs: () => number;
  readonly random: () => number;
  /** for everything that answers at once; a request that waits (fetch, join) has a pool of its own */
  #control: ConnectionPool;
  #admin: Admin;
  readonly #pools = new Set<ConnectionPool>();
  readonly #coordinators = new Map<string, number>();
  #failures = 0;
  #closed = false;

  constructor(
    access: KafkaAccess,
    given: { clientName: string; log: BusLog; nowMs: () => number; random: () => number },
  ) {
    this.access = access;
    this.clientName = given.clientName;
    this.log = given.log;
    this.nowMs = given.nowMs;
    this.random = given.random;
    this.#admin = this.#makeAdmin();
    this.#control = this.pool();
  }

  get requestTimeoutMs(): number {
    return this.access.requestTimeoutMs ?? REQUEST_TIMEOUT_MS;
  }

  get retryMs(): number {
    return this.access.retryMs ?? RETRY_MS;
  }

  get closed(): boolean {
    return this.#closed;
  }

  get control(): ConnectionPool {
    return this.#control;
  }

  /** Connections apart from all others: Kafka answers the requests of one connection one after another. */
  pool(requestTimeoutMs = this.requestTimeoutMs): ConnectionPool {
    const pool = new ConnectionPool(this.clientName, {
      ...this.#connectionOptions(),
      requestTimeout: requestTimeoutMs,
    });
    pool.on('connecting', ({ connection }) => {
      // every failure also reaches the request that suffers it; unheard, the event would end the process
      connection?.on('error', () => {});
    });
    this.#pools.add(pool);
    return pool;
  }

  async discard(pool: ConnectionPool): Promise<void> {
    this.#pools.delete(pool);
    await bounded(pool.close());
  }

  /** The client's own administration, each call once; to be used inside retry(). */
  get admin(): Admin {
    return this.#admin;
  }

  async metadata(topic: string): Promise<ClusterMetadata> {
    return this.#admin.metadata({ topics: [topic] });
  }

  async leaderOf(topic: string, partition: number): Promise<Broker> {
    const metadata = await this.metadata(topic);
    const leader = metadata.topics.get(topic)?.partitions[partition]?.leader;
    const broker = leader === undefined ? undefined : metadata.brokers.get(leader);
    if (broker === undefined) {
      this.forget();
      throw new BusError('unreachable', `${topic}:${partition} has no leader at the moment`);
    }
    return broker;
  }

  async coordinatorOf(group: string): Promise<Broker> {
    const brokers = (await this.#admin.metadata({ topics: [] })).brokers;
    let node = this.#coordinators.get(group);
    if (node === undefined || !brokers.has(node)) {
      const some = await this.#someBroker();
      const answer = await this.#send('FindCoordinator', this.#control, some, 0, [group]);
      const found = answer.coordinators.find(({ key }) => key === group) ?? answer.coordinators[0];
      if (found === undefined) throw new BusError('unreachable', `no broker coordinates group ${group} yet`);
      node = found.nodeId;
      this.#coordinators.set(group, node);
    }
    const broker = brokers.get(node);
    if (broker === undefined) {
      this.forget();
      throw new BusError('unreachable', `the coordinator of group ${group} is not known yet`);
    }
    return broker;
  }

  /** True when the brokers know a request in at least this version. */
  async speaks(name: keyof Calls, version: number): Promise<boolean> {
    const apis = await this.#admin.listApis();
    return apis.some((api) => api.name === name && api.maxVersion >= version);
  }

  /** One request, once. What it fails of clears what may be out of date. */
  async send<N extends keyof Calls>(
    name: N,
    pool: ConnectionPool,
    broker: Broker,
    ...args: Arguments<N>
  ): Promise<Answer<N>> {
    try {
      const answer = await this.#send(name, pool, broker, ...args);
      this.#failures = 0;
      return answer;
    } catch (error) {
      this.noteFailure(error);
      throw error;
    }
  }

  /** The version of a request that send() would use. */
  async version(name: keyof Calls): Promise<number> {
    return (await this.#api(name)).version;
  }

  /** Repeats what passes by itself, for a bounded time. @throws BusError */
  async retry<T>(what: string, work: () => Promise<T>, limitMs = this.retryMs): Promise<T> {
    const endMs = this.nowMs() + limitMs;
    for (let attempt = 0; ; attempt++) {
      try {
        return await work();
      } catch (error) {
        this.noteFailure(error);
        const kind = kindOf(error);
        if (this.#closed || kind !== 'unreachable' || this.nowMs() >= endMs) throw busError(error, what);
      }
      await delay(backoffMs(attempt, BACKOFF, this.random()));
    }
  }

  /** Metadata and coordinators are asked for again. */
  forget(): void {
    this.#admin.clearMetadata();
    this.#coordinators.clear();
  }

  noteFailure(error: unknown): void {
    this.forget();
    if (kindOf(error) !== 'unreachable' || hasCode(error, KafkaCode.unknownMemberId)) return;
    this.#failures += 1;
    if (this.#failures % RENEW_AFTER === 0 && !this.#closed) this.renew();
  }

  /** A client that no longer gets anywhere is replaced, with all that it remembers. */
  renew(): void {
    const [admin, control] = [this.#admin, this.#control];
    this.#admin = this.#makeAdmin();
    this.#control = this.pool();
    this.#coordinators.clear();
    void bounded(admin.close());
    void this.discard(control);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([bounded(this.#admin.close()), ...[...this.#pools].map((pool) => this.discard(pool))]);
  }

  async #send<N extends keyof Calls>(
    name: N,
    pool: ConnectionPool,
    broker: Broker,
    ...args: Arguments<N>
  ): Promise<Answer<N>> {
    const api = await this.#api(name);
    const connection = await pool.get(broker);
    return (await api.async(connection, ...args)) as Answer<N>;
  }

  #api(name: keyof Calls): Promise<AnyApi> {
    return new Promise((resolve, reject) => {
      this.#admin[kGetApi]<unknown[], unknown>(name, (error, api) => {
        if (error === null && api !== undefined) resolve(api);
        else reject(error ?? new BusError('setup', `the brokers do not know ${name}`));
      });
    });
  }

  async #someBroker(): Promise<Broker> {
    const { brokers } = await this.#admin.metadata({ topics: [] });
    const [first] = brokers.values();
    if (first === undefined) throw new BusError('unreachable', 'no broker is known');
    return first;
  }

  #makeAdmin(): Admin {
    const admin = new Admin({
      clientId: this.clientName,
      bootstrapBrokers: [...this.access.brokers],
      ...this.#connectionOptions(),
      requestTimeout: this.requestTimeoutMs,
      timeout: this.requestTimeoutMs,
      retries: 0,
      metadataMaxAge: METADATA_MAX_AGE_MS,
    });
    admin.on('error', () => {});
    return admin;
  }

  #connectionOptions() {
    const { sasl, tls } = this.access;
    return {
      connectTimeout: Math.min(5000, this.requestTimeoutMs),
      maxInflights: 64,
      ...(sasl === undefined ? {} : { sasl }),
      ...(tls === undefined ? {} : { tls: { minVersion: 'TLSv1.2' as const, ...tls } }),
    };
  }
}

/** A frozen broker must not hold up the end of the process. */
async function bounded(closing: Promise<unknown>): Promise<void> {
  const limit = new AbortController();
  await Promise.race([
    closing.catch(() => {}),
    delay(CLOSE_MS, undefined, { ref: false, signal: limit.signal }).catch(() => {}),
  ]);
  limit.abort();
}
