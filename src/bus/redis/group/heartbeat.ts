import { ANSWER_MS, type Stream } from './groups.ts';
import type { RedisConnection } from '../connection.ts';
import { LAST_POSITION } from '../stream-id.ts';

/**
 * Shows every few seconds that a consumer lives: reads its own pending entries after the last possible id. That costs nothing
 * and delivers nothing, and the server notes when it saw the consumer.
 */
export class RedisHeartbeat {
  readonly #timer: NodeJS.Timeout;
  #beating: Promise<void> | null = null;

  constructor(
    connection: RedisConnection,
    streams: readonly Stream[],
    group: string,
    consumer: string,
    everyMs: number,
  ) {
    const keys = streams.map(({ key }) => key);
    const beat = async (): Promise<void> => {
      try {
        await connection.run(ANSWER_MS, (client) =>
          client.call('XREADGROUP', [
            'GROUP',
            group,
            consumer,
            'COUNT',
            '1',
            'STREAMS',
            ...keys,
            ...keys.map(() => LAST_POSITION),
          ]),
        );
      } catch {
        // reading and acknowledging report what is wrong; the next beat follows
      }
    };
    this.#timer = setInterval(() => {
      this.#beating ??= beat().finally(() => (this.#beating = null));
    }, everyMs);
  }

  /** Resolves when the beat under way has ended. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#beating;
  }
}
