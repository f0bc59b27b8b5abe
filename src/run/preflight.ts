import type { Client } from 'pg';
import { backoffMs } from '../core/retry.ts';
import { atMost } from '../core/wait.ts';
import { connect, connectFailureKind, parseDatabaseUrl } from '../store/postgres/connect.ts';
import { lockWarnings } from '../store/chunks/locks.ts';
import { isPooled } from '../store/postgres/pooler.ts';
import {
  connectionLimit,
  detectEdition,
  type ConnectionLimit,
  type EditionInfo,
} from '../store/postgres/server-info.ts';
import { answerWithin, destroy } from '../store/postgres/session.ts';
import { SchemaBehind } from '../store/schema/behind.ts';
import { migrate, schemaStatus } from '../store/schema/migrate.ts';
import type { Config } from './config/load.ts';
import { schemaStages } from './upkeep/retention.ts';
import type { Signals } from './signals.ts';
import type { Telemetry } from './telemetry/ingest-telemetry.ts';
import type { Log } from './telemetry/log.ts';

/** What the daemon must know about the database before it sizes its threads. */
export interface Preflight {
  edition: EditionInfo;
  connectionLimit: ConnectionLimit;
  /** for the log */
  warnings: string[];
}

/** An error that waiting cannot fix: one line for the operator, exit code 1. */
export class StartError extends Error {}

const BACKOFF = { firstMs: 200, maxMs: 5_000 };
/** A server that accepts a connection and then says nothing counts as unreachable. */
const CONTACT_MS_MAX = 10_000;
const CLOSE_MS_MAX = 5_000;
const BEHIND_POOLER =
  'The database is behind a pooler: no session keeps a state. Session pooling (pool_mode = session) is needed by nothing but notifications';

/**
 * Waits for the database, and for its schema where no ingest leader will apply it. Null when a signal came first.
 * @throws StartError for a wrong password or a missing database: not an outage
 */
export async function firstContact(
  config: Config,
  databaseUrl: string,
  { log, telemetry, signals }: { log: Log; telemetry: Telemetry; signals: Signals },
): Promise<Preflight | null> {
  for (let attempt = 0; signals.seen === null; attempt += 1) {
    try {
      return await withClient(config, databaseUrl, async (client) => {
        const found = await answerWithin(look(client), CONTACT_MS_MAX);
        telemetry.edition(found.edition);
        log.info(found.edition, 'Connected to database');
        if (isPooled(client)) log.info(BEHIND_POOLER);
        for (const warning of found.warnings) log.warn(warning);
        if (!config.stages.includes('ingest')) {
          await ensureSchema(client, config, log);
          telemetry.withoutIngest([]);
        }
        return found;
      });
    } catch (error) {
      if (error instanceof SchemaBehind) {
        telemetry.withoutIngest(['schema']);
        log.error(`${error.message}; the daemon goes on by itself then`);
        await atMost(signals.first, BACKOFF.maxMs);
        continue;
      }
      if (connectFailureKind(error) !== 'unreachable') {
        throw new StartError(`Failed to connect to database: ${(error as Error).message}`);
      }
      const waitMs = backoffMs(attempt, BACKOFF, Math.random());
      log.warn({ err: error, retry_ms: waitMs }, 'Failed to connect to database');
      telemetry.retried('database');
      await atMost(signals.first, waitMs);
    }
  }
  return null;
}

/**
 * Resolves when the schema has what the stages need, applying it first when DB_MIGRATE=auto.
 * @throws SchemaBehind when only an operator may apply it
 */
export async function ensureSchema(client: Client, config: Config, log: Log): Promise<void> {
  const status = await schemaStatus(client);
  const behind = [...new Set(schemaStages(config).flatMap((stage) => status.behindFor(stage)))];
  if (behind.length === 0) return;
  if (config.dbMigrate !== 'auto') throw new SchemaBehind(behind);
  for (const file of await migrate(client)) log.info({ file }, 'Applied schema file');
}

async function withClient<T>(
  config: Config,
  databaseUrl: string,
  use: (client: Client) => Promise<T>,
): Promise<T> {
  const client = await connect(parseDatabaseUrl(databaseUrl), {
    applicationName: `${config.serviceName} start`,
  });
  try {
    return await use(client);
  } finally {
    await answerWithin(client.end(), CLOSE_MS_MAX).catch(() => destroy(client));
  }
}

async function look(client: Client): Promise<Preflight> {
  return {
    edition: await detectEdition(client),
    connectionLimit: await connectionLimit(client),
    warnings: await lockWarnings(client),
  };
}
