import type { Client } from 'pg';
import { microsOf } from './time-sql.ts';

/** The server's support for large tables. apache and community are TimescaleDB's two editions. */
export type Edition = 'plain' | 'apache' | 'community';

export interface EditionInfo {
  /** e.g. 18.4 */
  postgres: string;
  /** version of the extension in this database, null if it is not created */
  timescale: string | null;
  /** plain also when the extension is created but its library is not preloaded */
  edition: Edition;
  /** false only in that last case: existing hypertables cannot be read or written then */
  usable: boolean;
}

interface Row {
  postgres: string;
  timescale: string | null;
  license: string | null;
}

/** Inspects the extension and its license. Call it on the database that holds the tables. */
export async function detectEdition(client: Client): Promise<EditionInfo> {
  const { rows } = await client.query<Row>(
    `SELECT split_part(current_setting('server_version'), ' ', 1) AS postgres,
            (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb') AS timescale,
            current_setting('timescaledb.license', true) AS license`,
  );
  const row = rows[0];
  if (row === undefined) throw new Error('the server did not answer with its version');
  const { postgres, timescale, license } = row;
  // The library defines the setting: without it (or outside shared_preload_libraries) there is no value.
  if (timescale === null) return { postgres, timescale, edition: 'plain', usable: true };
  if (license === null || license === '') return { postgres, timescale, edition: 'plain', usable: false };
  return { postgres, timescale, edition: license === 'apache' ? 'apache' : 'community', usable: true };
}

/** The server's clock, µs since 1970. */
export async function serverMicros(client: Client): Promise<bigint> {
  const { rows } = await client.query<{ now: string }>(`SELECT ${microsOf('clock_timestamp()')} AS now`);
  return BigInt(rows[0].now); // always one row
}

/** How many connections this session's role can have to this database, and what says so. */
export interface ConnectionLimit {
  connections: number;
  /** for people */
  by: string;
}

/**
 * The lowest of what the server tells: max_connections without the reserved ones, and CONNECTION LIMIT of role and database,
 * which do not bind superusers. What others have open is not looked at, and a pooler's limits cannot be seen.
 */
export async function connectionLimit(client: Client): Promise<ConnectionLimit> {
  const { rows } = await client.query<{ connections: number; by: string }>(
    `WITH me AS (SELECT rolname, rolconnlimit, rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user),
       settings AS (SELECT name, setting::int AS value FROM pg_catalog.pg_settings
         WHERE name IN ('max_connections', 'superuser_reserved_connections', 'reserved_connections'))
     SELECT sum(CASE name WHEN 'max_connections' THEN value ELSE -value END)::int AS connections, 'max_connections of the server' AS by FROM settings
     UNION ALL SELECT rolconnlimit, format('CONNECTION LIMIT of the role %I', rolname) FROM me WHERE rolconnlimit >= 0 AND NOT rolsuper
     UNION ALL SELECT datconnlimit, format('CONNECTION LIMIT of the database %I', datname) FROM pg_catalog.pg_database, me
       WHERE datname = current_database() AND datconnlimit >= 0 AND NOT rolsuper
     ORDER BY connections LIMIT 1`,
  );
  return rows[0];
}
