import type { RunOnSession } from '../postgres/session.ts';

/**
 * How far groups have acknowledged (table bus_marks), for any bus: a group that vanished from the bus is recreated from
 * there. Every method rejects with the server's error, or as Session.run does.
 */
export class BusCheckpoints {
  readonly #run: RunOnSession;

  constructor(run: RunOnSession) {
    this.#run = run;
  }

  /** Everything at or below was acknowledged; null: unknown. */
  async read(topic: string, group: string, partition: number): Promise<string | null> {
    const { rows } = await this.#run((client) =>
      client.query<{ acknowledged: string | null }>(
        'SELECT acknowledged FROM bus_marks WHERE topic = $1 AND group_name = $2 AND partition = $3',
        [topic, group, partition],
      ),
    );
    return rows[0]?.acknowledged ?? null;
  }

  async write(topic: string, group: string, partition: number, position: string): Promise<void> {
    await this.#run((client) =>
      client.query(
        `INSERT INTO bus_marks (topic, group_name, partition, acknowledged) VALUES ($1, $2, $3, $4)
       ON CONFLICT (topic, group_name, partition) DO UPDATE SET acknowledged = excluded.acknowledged, updated_at = now()
       WHERE bus_marks.acknowledged IS DISTINCT FROM excluded.acknowledged`,
        [topic, group, partition, position],
      ),
    );
  }

  /** How many times work on the partition started at this position, this time included. */
  async starting(topic: string, group: string, partition: number, position: string): Promise<number> {
    const { rows } = await this.#run((client) =>
      client.query<{ start_count: number }>(
        `INSERT INTO bus_marks AS m (topic, group_name, partition, start_position, start_count) VALUES ($1, $2, $3, $4, 1)
       ON CONFLICT (topic, group_name, partition) DO UPDATE SET start_position = excluded.start_position, updated_at = now(),
         start_count = CASE WHEN m.start_position = excluded.start_position THEN m.start_count + 1 ELSE 1 END
       RETURNING start_count`,
        [topic, group, partition, position],
      ),
    );
    return rows[0]?.start_count ?? 1;
  }

  async drop(topic: string, group: string): Promise<void> {
    await this.#run((client) =>
      client.query('DELETE FROM bus_marks WHERE topic = $1 AND group_name = $2', [topic, group]),
    );
  }
}
