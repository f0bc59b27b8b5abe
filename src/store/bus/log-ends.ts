import type { RunOnSession } from '../postgres/session.ts';

/** An end of a log and how long ago it was seen, ms. */
export interface NotedEnd {
  position: string;
  ageMs: number;
}

/**
 * Where the logs of a bus ended at which time by the database's clock (table bus_log_ends): how old dead letters are, whatever
 * their ids say, through restarts. Every method rejects with the server's error, or as Session.run does.
 */
export class BusLogEnds {
  readonly #run: RunOnSession;

  constructor(run: RunOnSession) {
    this.#run = run;
  }

  /** As LogEnds.note() of the bus. Positions of another log of this topic mean nothing any more and are deleted. */
  async note(
    topic: string,
    log: string,
    partition: number,
    position: string,
    { ageMs, spacingMs }: { ageMs: number; spacingMs: number },
  ): Promise<NotedEnd[]> {
    return this.#run(async (client) => {
      await client.query('DELETE FROM bus_log_ends WHERE topic = $1 AND log <> $2', [topic, log]);
      await client.query(
        `INSERT INTO bus_log_ends (topic, partition, log, "position") SELECT $1, $2, $3, $4
          WHERE NOT EXISTS (
            SELECT FROM (SELECT "position", seen_at FROM bus_log_ends WHERE topic = $1 AND partition = $2
                          ORDER BY seen_at DESC LIMIT 1) newest
             WHERE newest."position" = $4 OR newest.seen_at > clock_timestamp() - $5::float8 * interval '1 millisecond')
         ON CONFLICT DO NOTHING`,
        [topic, partition, log, position, spacingMs],
      );
      await client.query(
        `DELETE FROM bus_log_ends WHERE topic = $1 AND partition = $2 AND seen_at < (
           SELECT max(seen_at) FROM bus_log_ends
            WHERE topic = $1 AND partition = $2 AND seen_at <= clock_timestamp() - $3::float8 * interval '1 millisecond')`,
        [topic, partition, ageMs],
      );
      const { rows } = await client.query<{ position: string; age_ms: number }>(
        `SELECT "position", extract(epoch FROM clock_timestamp() - seen_at)::float8 * 1000 AS age_ms
           FROM bus_log_ends WHERE topic = $1 AND partition = $2 AND log = $3 ORDER BY seen_at`,
        [topic, partition, log],
      );
      return rows.map((row) => ({ position: row.position, ageMs: row.age_ms }));
    });
  }

  async forget(topic: string, partition: number): Promise<void> {
    await this.#run((client) =>
      client.query('DELETE FROM bus_log_ends WHERE topic = $1 AND partition = $2', [topic, partition]),
    );
  }
}
