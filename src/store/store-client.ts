import type { Client } from 'pg';
import { TICK_DATA } from '../core/copy/tables.ts';
import type { TickDataRow } from '../core/copy/tick-data.ts';
import { providersOf, type ProviderDeclarations, type Providers } from '../core/market/identity/providers.ts';
import { BarsStore } from './bars/bars-store.ts';
import { BusCheckpoints } from './bus/checkpoints.ts';
import { BusLogEnds } from './bus/log-ends.ts';
import { agreePartitions, claimGroup, forgetGroup } from './bus/partitions.ts';
import { JobRunTracker } from './job-runs.ts';
import { connect, parseDatabaseUrl } from './postgres/connect.ts';
import { askWitness, type Witness } from './postgres/witness.ts';
import { serverMicros } from './postgres/server-info.ts';
import { connectDurable, Session } from './postgres/session.ts';
import { ReplayStore } from './replay/replay-store.ts';
import { SignalsStore } from './signals/signals-store.ts';
import { isSchemaBehind, withReason } from './schema/behind.ts';
import { migrate, schemaStatus } from './schema/migrate.ts';
import { MdTicksStore } from './market/md-ticks.ts';
import { TickDataWriter, type TickDataResult } from './market/tick-data.ts';
import { rowOf, type UpsertTick } from './market/upsert-tick.ts';

export interface StoreClientOptions {
  /** postgres://user:password@host/database */
  dbUri: string;
  /** shown in pg_stat_activity */
  applicationName?: string;
  /** what is declared of providers, for upsertTicks. Default: nothing */
  providers?: ProviderDeclarations;
}

/** After this long without an answer the connection is dropped, and the request may be repeated. Above the statement timeout. */
const ANSWER_MS_MAX = 30_000;

/**
 * The store as the pipeline sees it: rows in, no SQL. One session writes ticks, one bars, one signals, one replays, and one the
 * bookkeeping (runs, checkpoints), so that none is affected by another's failed transaction.
 */
export class StoreClient {
  readonly #write: Session;
  readonly #bookkeeping: Session;
  readonly #bars: Session;
  readonly #signals: Session;
  readonly #replay: Session;
  readonly #connect: (purpose: string) => Promise<Client>;
  /** without a limit to the time of a statement */
  readonly #connectForSchema: () => Promise<Client>;
  readonly #providers: Providers;
  readonly #writers = new WeakMap<Client, TickDataWriter>();
  readonly jobRuns: JobRunTracker;
  readonly busCheckpoints: BusCheckpoints;
  readonly busLogEnds: BusLogEnds;
  readonly bars: BarsStore;
  readonly signals: SignalsStore;
  readonly mdTicks: MdTicksStore;
  readonly replay: ReplayStore;

  /** @throws RangeError when a provider's map of symbols cannot be used */
  constructor({ dbUri, applicationName = 'store-client', providers }: StoreClientOptions) {
    this.#providers = providersOf(providers);
    this.#connect = (purpose) => connectDurable(dbUri, `${applicationName} ${purpose}`);
    this.#connectForSchema = () =>
      connect(parseDatabaseUrl(dbUri), { applicationName: `${applicationName} schema` });
    const session = (purpose: string): Session => new Session(() => this.#connect(purpose), ANSWER_MS_MAX);
    this.#write = session('ticks');
    this.#bookkeeping = session('books');
    this.#bars = session('bars');
    this.#signals = session('signals');
    this.#replay = session('replay');
    this.jobRuns = new JobRunTracker((work) => this.#bookkeeping.run(work));
    this.busCheckpoints = new BusCheckpoints((work) => this.#bookkeeping.run(work));
    this.busLogEnds = new BusLogEnds((work) => this.#bookkeeping.run(work));
    this.bars = new BarsStore((work) => this.#bars.run(work));
    this.signals = new SignalsStore((work) => this.#signals.run(work));
    this.replay = new ReplayStore((work) => this.#replay.run(work));
    this.mdTicks = new MdTicksStore((work) => this.#write.run(work));
  }

  /** A separate connection for the caller, with durable commits. Rejects with ConnectError. */
  connect(purpose: string): Promise<Client> {
    return this.#connect(purpose);
  }

  /** Connects. Rejects with ConnectError: its kind says whether waiting helps. */
  async aopen(): Promise<void> {
    await this.#write.run(() => Promise.resolve());
  }

  /** The schema files that a stage needs and this database lacks. */
  schemaBehind(stage: string): Promise<string[]> {
    return this.#bookkeeping.run(async (client) => (await schemaStatus(client)).behindFor(stage));
  }

  /** In place of an error of a schema that is behind: that there is no schema at all, where this is the reason. */
  reasonOf(error: unknown): Promise<unknown> {
    if (!isSchemaBehind(error)) return Promise.resolve(error);
    return this.#bookkeeping.run((client) => withReason(client, error)).catch(() => error);
  }

  /** Applies the schema files that this database lacks; returns their names. Rejects with MigrationError. */
  async migrate(): Promise<string[]> {
    const client = await this.#connectForSchema();
    try {
      return await migrate(client);
    } finally {
      await client.end().catch(() => {});
    }
  }

  /** The server's clock, µs since 1970. */
  serverMicros(): Promise<bigint> {
    return this.#bookkeeping.run(serverMicros);
  }

  /** Enforces one number of partitions of a topic on every process. Rejects with PartitionsDifferError. */
  async agreePartitions(topic: string, partitions: number): Promise<void> {
    await this.#bookkeeping.run((client) => agreePartitions(client, topic, partitions));
  }

  /**
   * Assigns a group of a topic to the role. Rejects with GroupInUseError when another role has it, with
   * PartitionsDifferError when the topic has another number of partitions.
   */
  async claimGroup(topic: string, group: string, role: string, partitions: number): Promise<void> {
    await this.#bookkeeping.run(async (client) => {
      await agreePartitions(client, topic, partitions);
      await claimGroup(client, { topic, group }, role);
    });
  }

  /** Deletes what is recorded here of a group that is dropped from the bus. */
  async forgetGroup(topic: string, group: string): Promise<void> {
    await this.#bookkeeping.run((client) => forgetGroup(client, { topic, group }));
  }

  /**
   * Inserts new rows, in one transaction; existing ones stay unchanged. Rejects with the server's error, and with
   * RangeError for a value that no column can hold; the same ticks may be passed again at any time.
   */
  upsertTicks(ticks: readonly UpsertTick[]): Promise<TickDataResult> {
    return this.writeTicks(ticks.map((tick) => rowOf(tick, this.#providers)));
  }

  /** Whether tick_data takes rows at the moment. */
  tickWitness(): Promise<Witness> {
    return this.#write.run((client) => askWitness(client, [{ table: TICK_DATA, order: null }]));
  }

  /** The same for rows that are already checked and normalised. */
  writeTicks(rows: readonly TickDataRow[]): Promise<TickDataResult> {
    return this.#write.run((client) => {
      let writer = this.#writers.get(client);
      if (writer === undefined) {
        writer = new TickDataWriter(client);
        this.#writers.set(client, writer);
      }
      return writer.write(rows);
    });
  }

  async aclose(): Promise<void> {
    await Promise.all([
      this.#write.close(),
      this.#bookkeeping.close(),
      this.#bars.close(),
      this.#signals.close(),
      this.#replay.close(),
    ]);
  }
}
