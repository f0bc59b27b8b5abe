import { readdirSync, readFileSync } from 'node:fs';
import { Client } from 'pg';
import type { BusOptions, StreamBus } from '../../../src/bus/bus.ts';
import { PostgresBus } from '../../../src/bus/postgres/bus.ts';
import { migrate } from '../../../src/store/schema/migrate.ts';
import type { BusServer } from '../../conformance/bus-server.ts';
import { startPostgres } from '../servers/postgres.ts';

/** Of conformance/child.ts: `address` is the database's URL. */
export async function openBus(address: string, options: BusOptions): Promise<StreamBus> {
  return new PostgresBus({ ...options, databaseUrl: address });
}

/** Runs one thing on a connection of its own. */
export async function withClient<T>(url: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: url });
  client.on('error', () => {});
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** Every file of schema/, as `mdp db migrate` applies them. */
export async function migrateAll(url: string): Promise<void> {
  await withClient(url, (client) => migrate(client));
}

/** Puts events into one of several partitions, whatever their symbols. */
export async function misplace(
  client: Client,
  topic: string,
  partition: number,
  events: readonly { key: string | null; text: string }[],
): Promise<void> {
  await client.query(
    `SELECT bus_append($1, array[$2::int], array[cardinality($3::text[])], $3, array_fill(null::text, array[cardinality($3)]),
       array_fill(0::smallint, array[cardinality($3)]), (SELECT array_agg(convert_to(t, 'UTF8') ORDER BY n)
         FROM unnest($4::text[]) WITH ORDINALITY AS u (t, n)), 100000, 67108864)`,
    [topic, partition + 1, events.map(({ key }) => key), events.map(({ text }) => text)],
  );
}

/** A PostgreSQL of its own with a database for the bus. */
export async function startPostgresBus(): Promise<BusServer> {
  const server = await startPostgres();
  const url = await server.createDatabase('bus', { schema: false });
  await migrateAll(url);
  const signal = (name: NodeJS.Signals): void => {
    for (const pid of [server.pid, ...childrenOf(server.pid)]) process.kill(pid, name);
  };
  return {
    kind: 'postgres',
    opener: { module: new URL(import.meta.url), address: url },
    trimsExactly: true,
    open: (options) => openBus(url, options),
    async crash() {
      await server.restart('immediate');
    },
    async cutConnections() {
      await withClient(url, (client) => client.query(CUT));
    },
    freeze: () => signal('SIGSTOP'),
    thaw: () => signal('SIGCONT'),
    async foreign(topic, key, text) {
      await withClient(url, (client) => client.query('SELECT bus_publish($1, $2, $3)', [topic, key, text]));
    },
    async foreignMany(topic, events) {
      const values = [topic, events.map(({ key }) => key), events.map(({ text }) => text)];
      await withClient(url, (client) => client.query('SELECT bus_publish_many($1, $2, $3)', values));
    },
    async foreignAt(topic, text, claimedMs) {
      // the server's clock stood there
      await withClient(url, async (client) => {
        const at = await client.query<{ id: string }>("SELECT bus_publish($1, 'A', $2) AS id", [topic, text]);
        const segment = await client.query<{ name: string }>(
          "SELECT 'bus_segment_' || segment_id AS name FROM bus_logs WHERE topic = $1",
          [topic],
        );
        const change = `UPDATE ${segment.rows[0]?.name} SET taken_us = $1 WHERE "position" = $2`;
        await client.query(change, [claimedMs * 1000, at.rows[0]?.id]);
      });
    },
    stop: () => server.stop(),
  };
}

const CUT = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
  WHERE backend_type = 'client backend' AND datname = current_database() AND pid <> pg_backend_pid()`;

/** The postmaster starts its own processes, so these are all of them. */
function childrenOf(pid: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        // "pid (comm) state ppid …": comm may hold anything, ")" included
        const stat = readFileSync(`/proc/${name}/stat`, 'latin1');
        return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) === pid;
      } catch {
        return false; // it ended meanwhile
      }
    })
    .map(Number);
}
