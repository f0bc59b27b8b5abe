import { makeKafkaData, noKafka } from '../../test/support/servers/kafka.ts';
import { makePostgresData, startPostgres } from '../../test/support/servers/postgres.ts';

/** What test files are handed of a run, as environment variables. */
export interface RunServers {
  readonly env: Readonly<Record<string, string>>;
  stop(): Promise<void>;
}

/** Enough for all the files that run side by side. */
const POSTGRES_SETTINGS = { max_connections: '400', shared_buffers: '128MB' };

/**
 * One PostgreSQL for the whole run, on which each file has databases of its own (sharedPostgres), and the data with which those
 * start that need a server of their own (startPostgres, startKafka). A redis-server starts in 30 ms: there each file has its own.
 */
export async function startServers(): Promise<RunServers> {
  const data = await makePostgresData();
  process.env['TEST_POSTGRES_DATA'] = data.folder;
  const kafka = noKafka() === false ? await makeKafkaData() : null;
  const postgres = await startPostgres({ settings: POSTGRES_SETTINGS });
  return {
    env: {
      TEST_POSTGRES_DATA: data.folder,
      TEST_POSTGRES_URL: postgres.url('postgres'),
      TEST_KAFKA_DATA: kafka?.folder ?? '',
    },
    async stop() {
      await postgres.stop();
      await data.remove();
      await kafka?.remove();
    },
  };
}
