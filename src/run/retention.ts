import type { Client } from 'pg';
import type { Env } from '../core/env.ts';
import { formatMicros } from '../core/time.ts';
import { tooShort, type RetentionAges } from '../core/retention.ts';
import { connect, parseDatabaseUrl } from '../store/postgres/connect.ts';
import { destroy } from '../store/postgres/session.ts';
import {
  knowsRetention,
  readHypertables,
  recordRetentionRun,
  earlierNow,
  tryRetentionLock,
  type Dropped,
  type Hypertables,
  type Round,
} from '../store/retention/round.ts';
import { dropChain } from '../store/retention/chain.ts';
import { dropBars, dropSignals, dropTickData } from '../store/retention/market.ts';
import { ConfigError, type Config } from './config/load.ts';
import { VARIABLES } from './config/variables.ts';
import type { StreamingConfig } from './config/streaming/load.ts';

export interface RetentionRules {
  ages: RetentionAges;
  /** micro_batch.revise_horizon, 0 when late events correct nothing */
  reviseHorizonMs: number;
}

export interface RetentionOptions extends RetentionRules {
  /** its own session; a round that deletes a lot takes minutes at most */
  connect(): Promise<Client>;
  env: Env;
  /** from the end of a round to the next one, ms */
  intervalMs: number;
  /** a round, or a part of it, failed and will be retried */
  failed(): void;
}

const HOUR_MS = 3_600_000;
/** On a chain that was never cut, finding the first tick to keep scans everything old. */
const STATEMENT_MS_MAX = 600_000;
/** After a failure, and while the schema is not there yet. */
const AGAIN_MS = 300_000;
const NOT_READY_MS = 10_000;

type Outcome = 'done' | 'failed' | 'not ready';

/**
 * What RETENTION_* asks for; null: nothing.
 * @param horizonMs reads micro_batch.revise_horizon; asked only where it matters
 * @throws ConfigError when late bars could no longer be computed from what is kept
 */
export function retentionRules(config: Config, horizonMs: () => number): RetentionRules | null {
  const ages = retentionAges(config);
  if (ages === null) return null;
  const reviseHorizonMs = ages.tickDataMs === null && ages.barsMs === null ? 0 : horizonMs();
  const problems = tooShort(ages, reviseHorizonMs).map(({ key, leastMs }) => ({
    variable: VARIABLES[key].name,
    problem: `is below ${leastMs / HOUR_MS}h: bars are computed again from what is kept, for micro_batch.revise_horizon (${reviseHorizonMs / HOUR_MS}h) and ${(leastMs - reviseHorizonMs) / HOUR_MS}h more`,
    allowed: VARIABLES[key].parser.allowed,
  }));
  if (problems.length > 0) throw new ConfigError(problems);
  return { ages, reviseHorizonMs };
}

/** How late an event may be and still correct its bar, ms: the ticks of the bar must be kept for that long. */
export function reviseHorizonMs({ micro_batch: bars }: StreamingConfig): number {
  return bars.late === 'revise' ? bars.revise_horizon : 0;
}

function retentionAges(config: Config): RetentionAges | null {
  const ages = {
    chainMs: config.retentionChainMs,
    tickDataMs: config.retentionTickDataMs,
    barsMs: config.retentionBarsMs,
    signalsMs: config.retentionSignalsMs,
  };
  return Object.values(ages).every((age) => age === null) ? null : ages;
}

/** The stages whose schema files are needed: retention has one of its own. */
export function schemaStages(config: Config): readonly string[] {
  return retentionAges(config) === null ? config.stages : [...config.stages, 'retention'];
}

export interface RetentionHost {
  databaseUrl: string;
  serviceName: string;
  env: Env;
  /** as RetentionOptions.failed */
  failed(): void;
}

/** Starts the first round; then one an hour. */
export function startRetention(rules: RetentionRules, host: RetentionHost): Retention {
  const { databaseUrl, serviceName, env } = host;
  const retention = new Retention({
    ...rules,
    connect: () =>
      connect(parseDatabaseUrl(databaseUrl), {
        applicationName: `${serviceName} retention`,
        statementTimeoutMs: STATEMENT_MS_MAX,
      }),
    env,
    intervalMs: HOUR_MS,
    failed: () => host.failed(),
  });
  retention.start();
  return retention;
}

/**
 * Drops what is older than RETENTION_* says, at the start and every hour. One daemon at a time, the first to get the
 * lock: no lease is needed, since the floor never goes down and nothing above it is touched.
 */
export class Retention {
  readonly #options: RetentionOptions;
  readonly #told = new Set<string>();
  #timer: NodeJS.Timeout | null = null;
  #client: Client | null = null;
  #round: Promise<void> | null = null;
  #stopped = false;

  constructor(options: RetentionOptions) {
    this.#options = options;
  }

  start(): void {
    this.#round = this.#turn();
  }

  /** Stops a round in progress; what it has dropped stays dropped. Idempotent. */
  async stop(): Promise<void> {
    this.#stopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    if (this.#client !== null) destroy(this.#client);
    await this.#round;
  }

  async #turn(): Promise<void> {
    const { intervalMs } = this.#options;
    const outcome = await this.round();
    if (this.#stopped) return;
    const waitMs = outcome === 'done' ? intervalMs : outcome === 'failed' ? AGAIN_MS : NOT_READY_MS;
    this.#timer = setTimeout(() => this.start(), Math.min(waitMs, intervalMs));
  }

  /** One round; never rejects. */
  async round(): Promise<Outcome> {
    let client: Client | null = null;
    try {
      client = await this.#options.connect();
      if (this.#stopped) return 'failed';
      this.#client = client;
      if (!(await knowsRetention(client))) return 'not ready';
      // another daemon does it
      if (!(await tryRetentionLock(client))) return 'done';
      return await this.#dropAll(client);
    } catch (error) {
      this.#fail('all', error);
      return 'failed';
    } finally {
      this.#client = null;
      // the lock is released with the session
      if (client !== null) await client.end().catch(() => {});
    }
  }

  async #dropAll(client: Client): Promise<Outcome> {
    const { ages, reviseHorizonMs, env } = this.#options;
    const startedMicros = env.clock.nowMicros();
    const nowMicros = await earlierNow(client, startedMicros);
    const known = await readHypertables(client);
    const rule = { ages, reviseHorizonMs, nowMicros };
    const { chainMs } = ages;
    const parts: [string, (known: Hypertables) => Promise<Round>][] = [
      ['tick_data', (tables) => dropTickData(client, tables, rule)],
      ['bars', (tables) => dropBars(client, tables, rule)],
      ['signals', (tables) => dropSignals(client, tables, rule)],
    ];
    if (chainMs !== null)
      parts.unshift(['chain', (tables) => dropChain(client, tables, { ageMs: chainMs, nowMicros })]);
    const dropped: Dropped[] = [];
    const errors: string[] = [];
    for (const [name, drop] of parts) {
      try {
        const round = await drop(known);
        dropped.push(...round.dropped);
        this.#tellHeldBack(name, round);
      } catch (error) {
        // a reader that locks a chunk stops only this part
        this.#fail(name, error);
        errors.push(`${name}: ${(error as Error).message}`);
      }
    }
    if (dropped.length > 0) {
      const error = errors.length === 0 ? null : errors.join('; ');
      await recordRetentionRun(client, dropped, { startedMicros, error });
      env.log('info', 'Retention dropped what is old', { dropped, now: formatMicros(nowMicros) });
    }
    return errors.length === 0 ? 'done' : 'failed';
  }

  /** Logs each reason once, until it is gone. */
  #tellHeldBack(part: string, { heldBack }: Round): void {
    const reasons = new Map(heldBack.map(({ what, by }) => [`${part} ${what}: ${by}`, { what, by }]));
    for (const told of this.#told) {
      if (told.startsWith(`${part} `) && !reasons.has(told)) this.#told.delete(told);
    }
    for (const [reason, fields] of reasons) {
      if (this.#told.has(reason)) continue;
      this.#told.add(reason);
      this.#options.env.log('warn', 'Retention keeps what is older than asked for', fields);
    }
  }

  #fail(part: string, error: unknown): void {
    if (this.#stopped) return;
    this.#options.failed();
    this.#options.env.log('warn', 'Retention failed (will try again)', { part, err: error });
  }
}
