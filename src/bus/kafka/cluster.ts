import { OldestWaiting } from '../../core/bus/taken.ts';
import type { Env } from '../../core/env.ts';
import { Admin, ConnectionPool, kGetApi, type Broker, type ClusterMetadata } from '@platformatic/kafka';
import type {
  API, consumerGroupDescribeV0, consumerGroupHeartbeatV1, fetchV17, findCoordinatorV6, heartbeatV4,
  initProducerIdV5, joinGroupV9, leaveGroupV5, offsetCommitV9, produceV11, syncGroupV5,
} from '@platformatic/kafka'; // prettier-ignore
import { setTimeout as delay } from 'node:timers/promises';
import { backoffMs } from '../../core/retry.ts';
import { shareTimeAmongAddresses } from '../addresses.ts';
import { BusError } from '../bus.ts';
import { wallMs } from '../../core/time.ts';
import { deadline } from '../../core/wait.ts';
import { busError, kafkaCodes, kindOf } from './errors.ts';
import { BrokerConnections, MadeConnections } from './connections.ts';

export interface KafkaAccess {
  /** host:port of some brokers; they tell of the others */
  brokers: readonly string[];
  sasl?: { mechanism: 'PLAIN' | 'SCRAM-SHA-256' | 'SCRAM-SHA-512'; username: string; password: string };
  /** absent: plain text. `ca`, `cert` and `key` in PEM */
  tls?: { ca?: string; cert?: string; key?: string; servername?: string };
  /** limit for one request, ms (default 10 s) */
  requestTimeoutMs?: number;
  /** 'classic': the protocol that every broker has (default: KIP-848 where the brokers have it) */
  groupProtocol?: 'classic';
  /** requests are repeated for this long before the caller gets the error, ms (default 15 s) */
  retryMs?: number;
}

const REQUEST_TIMEOUT_MS = 10_000;
const RETRY_MS = 15_000;
const CONNECT_TIMEOUT_MS = 5000;
const METADATA_MAX_AGE_MS = 60_000;
const BACKOFF = { firstMs: 50, maxMs: 1000 };
/** after this many failures in a row the client is replaced */
const RENEW_AFTER = 8;

/** The requests that are made directly, in the shape of their newest version; the older ones have the same shape in the client. */
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

type KafkaCall = keyof Calls;
type Arguments<N extends KafkaCall> = Calls[N] extends API<infer A, unknown> ? A : never;
type Answer<N extends KafkaCall> = Calls[N] extends API<infer _A, infer R> ? R : never;

type AnyApi = API<unknown[], unknown>;

/**
 * Connections, metadata and single requests. Of the client only the protocol and Admin are used, not its producer nor its
 * consumer: what is repeated, what a late answer may still change and when a client is replaced is decided in this folder.
 */
export class KafkaCluster {
  readonly access: KafkaAccess;
  readonly clientName: string;
  readonly env: Env;
  /** for requests that are answered at once */
  readonly control: BrokerConnections;
  /** for the lag of groups */
  readonly oldestWaiting = new OldestWaiting();
  #admin: Admin;
  #adminMade: MadeConnections;
  readonly #connections = new Set<BrokerConnections>();
  readonly #coordinators = new Map<string, number>();
  #failures = 0;
  #closed = false;

  constructor(access: KafkaAccess, given: { clientName: string; env: Env }) {
    this.access = access;
    this.clientName = given.clientName;
    this.env = given.env;
    [this.#admin, this.#adminMade] = this.#makeAdmin();
    this.control = this.openConnections();
  }

  /** By this machine's clock, ms since 1970; for ages of records. */
  nowMs(): number {
    return wallMs(this.env.clock);
  }

  get requestTimeoutMs(): number {
    return this.access.requestTimeoutMs ?? REQUEST_TIMEOUT_MS;
  }

  get retryMs(): number {
    return this.access.retryMs ?? RETRY_MS;
  }

  openConnections(requestTimeoutMs = this.requestTimeoutMs): BrokerConnections {
    const connections = new BrokerConnections(
      () =>
        new ConnectionPool(this.clientName, {
          ...this.#connectionOptions(),
          requestTimeout: requestTimeoutMs,
        }),
      requestTimeoutMs,
    );
    this.#connections.add(connections);
    return connections;
  }

  async discard(connections: BrokerConnections): Promise<void> {
    this.#connections.delete(connections);
    await connections.close();
  }

  /** The client's Admin, which repeats nothing by itself; to be used inside retry(). */
  get admin(): Admin {
    return this.#admin;
  }

  metadata(topic: string): Promise<ClusterMetadata> {
    return this.#inTime(this.#admin.metadata({ topics: [topic] }));
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
    const { brokers } = await this.#inTime(this.#admin.metadata({ topics: [] }));
    let node = this.#coordinators.get(group);
    if (node === undefined || !brokers.has(node)) {
      const [some] = brokers.values();
      if (some === undefined) throw new BusError('unreachable', 'no broker is known');
      const answer = await this.send('FindCoordinator', this.control, some, 0, [group]);
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

  /** True when the brokers support at least this version of a request. */
  async speaks(name: KafkaCall, version: number): Promise<boolean> {
    const apis = await this.#inTime(this.#admin.listApis());
    return apis.some((api) => api.name === name && api.maxVersion >= version);
  }

  /** One request, once. */
  async send<N extends KafkaCall>(
    name: N,
    connections: BrokerConnections,
    broker: Broker,
    ...args: Arguments<N>
  ): Promise<Answer<N>> {
    try {
      const api = await this.#inTime(this.#api(name));
      const connection = await this.#inTime(connections.to(broker));
      const answer = await this.#inTime(api.async(connection, ...args), connections.requestTimeoutMs);
      connections.succeeded();
      this.#failures = 0;
      return answer as Answer<N>;
    } catch (error) {
      if (kindOf(error) === 'unreachable' && !isAnswer(error)) connections.failed();
      throw error;
    }
  }

  /** The version of a request that send() would use. */
  async version(name: KafkaCall): Promise<number> {
    return (await this.#inTime(this.#api(name))).version;
  }

  /** Repeats work while its failures are of the kind that passes by itself, for a bounded time. @throws BusError */
  async retry<T>(what: string, work: () => Promise<T>, limitMs = this.retryMs): Promise<T> {
    const endMs = this.env.clock.monotonicMs() + limitMs;
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#inTime(work(), limitMs);
      } catch (error) {
        this.noteFailure(error);
        const kind = kindOf(error);
        if (this.#closed || kind !== 'unreachable' || this.env.clock.monotonicMs() >= endMs)
          throw busError(error, what);
      }
      await delay(backoffMs(attempt, BACKOFF, this.env.random()));
    }
  }

  /** Metadata and coordinators will be asked for again. */
  forget(): void {
    this.#admin.clearMetadata();
    this.#coordinators.clear();
  }

  noteFailure(error: unknown): void {
    this.forget();
    if (kindOf(error) !== 'unreachable' || isAnswer(error)) return;
    this.#failures += 1;
    if (this.#failures % RENEW_AFTER === 0) this.renew();
  }

  /** Replaces a client that no longer gets anywhere, with all its cached state. */
  renew(): void {
    if (this.#closed) return;
    const [old, made] = [this.#admin, this.#adminMade];
    [this.#admin, this.#adminMade] = this.#makeAdmin();
    this.#coordinators.clear();
    this.control.renew();
    void made.close(old.close());
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([
      this.#adminMade.close(this.#admin.close()),
      ...[...this.#connections].map((connections) => this.discard(connections)),
    ]);
  }

  #api(name: KafkaCall): Promise<AnyApi> {
    return new Promise((resolve, reject) => {
      this.#admin[kGetApi]<unknown[], unknown>(name, (error, api) => {
        if (error === null && api !== undefined) resolve(api);
        else reject(error ?? new BusError('setup', `the brokers do not know ${name}`));
      });
    });
  }

  /** Every request has a timeout in the client; this one covers requests that the client lost track of. */
  #inTime<T>(asked: Promise<T>, ownLimitMs = 0): Promise<T> {
    const limitMs = CONNECT_TIMEOUT_MS + 2 * Math.max(this.requestTimeoutMs, ownLimitMs);
    return deadline(asked, limitMs, () => {
      this.renew();
      return new BusError('unreachable', `no answer within ${limitMs} ms`);
    });
  }

  #makeAdmin(): [Admin, MadeConnections] {
    const admin = new Admin({
      clientId: this.clientName,
      bootstrapBrokers: [...this.access.brokers],
      ...this.#connectionOptions(),
      requestTimeout: this.requestTimeoutMs,
      timeout: this.requestTimeoutMs,
      retries: 0,
      metadataMaxAge: METADATA_MAX_AGE_MS,
    });
    return [admin, new MadeConnections(admin.connections)];
  }

  #connectionOptions() {
    const { sasl, tls } = this.access;
    const connectTimeout = Math.min(CONNECT_TIMEOUT_MS, this.requestTimeoutMs);
    shareTimeAmongAddresses(connectTimeout);
    return {
      connectTimeout,
      maxInflights: 64,
      ...(sasl === undefined ? {} : { sasl }),
      ...(tls === undefined ? {} : { tls: { minVersion: 'TLSv1.2' as const, ...tls } }),
    };
  }
}

/** True when the error is the answer of a broker: the connection is good. */
function isAnswer(error: unknown): boolean {
  return kafkaCodes(error).size > 0;
}
