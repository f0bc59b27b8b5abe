import type { Client } from 'pg';
import { formatMicros } from '../../core/time.ts';
import { connect, parseDatabaseUrl } from '../../store/postgres/connect.ts';
import {
  canCompress,
  compressBars,
  compressChain,
  type Compressed,
} from '../../store/retention/compression.ts';
import { readHypertables, recordUpkeepRun, tryUpkeepLock } from '../../store/retention/round.ts';
import type { Config } from '../config/load.ts';
import type { UpkeepHost } from './retention.ts';
import { Rounds, type Part, type RoundsOptions, type Upkeep } from './rounds.ts';

export interface CompressionRules {
  /** age from which chunks are compressed, ms; null: never */
  chainMs: number | null;
  barsMs: number | null;
  /** micro_batch.revise_horizon, 0 when late events correct nothing */
  reviseHorizonMs: number;
}

const HOUR_MS = 3_600_000;

/**
 * What CHAIN_COMPRESS_AFTER and BARS_COMPRESS_AFTER ask for; null: nothing.
 * @param horizonMs reads micro_batch.revise_horizon; asked only where it matters
 */
export function compressionRules(config: Config, horizonMs: () => number): CompressionRules | null {
  const { chainCompressAfterMs: chainMs, barsCompressAfterMs: barsMs } = config;
  if (chainMs === null && barsMs === null) return null;
  return { chainMs, barsMs, reviseHorizonMs: barsMs === null ? 0 : horizonMs() };
}

/** Starts the first round; then one an hour. */
export function startCompression(rules: CompressionRules, host: UpkeepHost): Rounds<Compressed> {
  const { databaseUrl, serviceName, env } = host;
  const rounds = compressionRounds(rules, {
    connect: () => connect(parseDatabaseUrl(databaseUrl), { applicationName: `${serviceName} compression` }),
    env,
    intervalMs: HOUR_MS,
    failed: () => host.failed(),
  });
  rounds.start();
  return rounds;
}

/**
 * Compresses chunks that are older than asked for, at the start and every hour; by the service and not by a policy of
 * TimescaleDB, which knows neither open gaps nor tick numbers (docs/decisions/009-retention-by-the-service.md).
 */
export function compressionRounds(
  { chainMs, barsMs, reviseHorizonMs }: CompressionRules,
  options: RoundsOptions,
): Rounds<Compressed> {
  const { env } = options;
  let isTold = false;
  const able = async (client: Client): Promise<boolean> => {
    const isAble = await canCompress(client);
    if (!isAble && !isTold)
      env.log('warn', 'Nothing is compressed: that needs the community edition of TimescaleDB', {});
    isTold = !isAble;
    return isAble;
  };
  const upkeep: Upkeep<Compressed> = {
    name: 'Compression',
    heldBackLine: 'Compression leaves what is older than asked for as it is',
    isReady: async (client) =>
      (await client.query("SELECT FROM pg_class WHERE oid = to_regclass('schema_hypertables')")).rowCount ===
      1,
    tryLock: async (client) => (await able(client)) && tryUpkeepLock(client, 'schema_hypertables'),
    async parts(client, nowMicros) {
      const known = await readHypertables(client);
      const parts: Part<Compressed>[] = [];
      if (chainMs !== null)
        parts.push({ name: 'chain', run: () => compressChain(client, known, { ageMs: chainMs, nowMicros }) });
      if (barsMs !== null)
        parts.push({
          name: 'bars',
          run: () => compressBars(client, known, { ageMs: barsMs, nowMicros, reviseHorizonMs }),
        });
      return parts;
    },
    async report(client, compressed, { startedMicros, nowMicros, error }) {
      await recordUpkeepRun(client, 'compression', { compressed }, { startedMicros, error });
      env.log('info', 'Compression compressed what is old', { compressed, now: formatMicros(nowMicros) });
    },
  };
  return new Rounds(upkeep, options);
}
