import type { Env } from '../../core/env.ts';
import { formatMicros } from '../../core/time.ts';
import { tooShort, type RetentionAges } from '../../core/retention.ts';
import { connect, parseDatabaseUrl } from '../../store/postgres/connect.ts';
import {
  knowsRetention,
  readHypertables,
  recordUpkeepRun,
  tryRetentionLock,
  type Dropped,
  type Round,
} from '../../store/retention/round.ts';
import { dropMdTicks } from '../../store/retention/webhook.ts';
import { dropChain } from '../../store/retention/chain.ts';
import { dropBars, dropSignals, dropTickData } from '../../store/retention/market.ts';
import { ConfigError, type Config } from '../config/load.ts';
import { VARIABLES } from '../config/variables.ts';
import type { StreamingConfig } from '../config/streaming/load.ts';
import { Rounds, type Part, type RoundsOptions, type Upkeep } from './rounds.ts';

export interface RetentionRules {
  ages: RetentionAges;
  /** micro_batch.revise_horizon, 0 when late events correct nothing */
  reviseHorizonMs: number;
}

export interface RetentionOptions extends RetentionRules, RoundsOptions {}

const HOUR_MS = 3_600_000;
/** On a chain that was never cut, finding the first tick to keep scans everything old. */
const STATEMENT_MS_MAX = 600_000;

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
    mdTicksMs: config.retentionMdTicksMs,
  };
  return Object.values(ages).every((age) => age === null) ? null : ages;
}

/** The stages whose schema files are needed: retention has one of its own. */
export function schemaStages(config: Config): readonly string[] {
  return retentionAges(config) === null ? config.stages : [...config.stages, 'retention'];
}

export interface UpkeepHost {
  databaseUrl: string;
  serviceName: string;
  env: Env;
  /** as RoundsOptions.failed */
  failed(): void;
}

/** Starts the first round; then one an hour. */
export function startRetention(rules: RetentionRules, host: UpkeepHost): Rounds<Dropped> {
  const { databaseUrl, serviceName, env } = host;
  const rounds = retentionRounds({
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
  rounds.start();
  return rounds;
}

/**
 * Drops what is older than RETENTION_* says, at the start and every hour. One daemon at a time, the first to get the
 * lock: no lease is needed, since the floor never goes down and nothing above it is touched.
 */
export function retentionRounds({ ages, reviseHorizonMs, ...options }: RetentionOptions): Rounds<Dropped> {
  const { env } = options;
  const upkeep: Upkeep<Dropped> = {
    name: 'Retention',
    heldBackLine: 'Retention keeps what is older than asked for',
    isReady: knowsRetention,
    tryLock: tryRetentionLock,
    async parts(client, nowMicros) {
      const known = await readHypertables(client);
      const rule = { ages, reviseHorizonMs, nowMicros };
      const { chainMs } = ages;
      const parts = [
        part('tick_data', () => dropTickData(client, known, rule)),
        part('bars', () => dropBars(client, known, rule)),
        part('signals', () => dropSignals(client, known, rule)),
        part('md_ticks', () => dropMdTicks(client, known, rule)),
      ];
      if (chainMs !== null)
        parts.unshift(part('chain', () => dropChain(client, known, { ageMs: chainMs, nowMicros })));
      return parts;
    },
    async report(client, dropped, { startedMicros, nowMicros, error }) {
      const tables = Object.fromEntries(
        dropped.map(({ table, chunks, rows }) => [table, chunks > 0 ? { chunks } : { rows }]),
      );
      await recordUpkeepRun(client, 'retention', { dropped: tables }, { startedMicros, error });
      env.log('info', 'Retention dropped what is old', { dropped, now: formatMicros(nowMicros) });
    },
  };
  return new Rounds(upkeep, options);
}

function part(name: string, drop: () => Promise<Round>): Part<Dropped> {
  return {
    name,
    run: async () => {
      const { dropped: done, heldBack } = await drop();
      return { done, heldBack };
    },
  };
}
