import { ANSWER_MS, type Stream } from './groups.ts';
import type { RedisConnection } from '../connection.ts';
import { LAST_POSITION } from '../stream-id.ts';

/**
 * Says every few seconds that a consumer lives: it asks for its own pending entries beyond the last possible id. That
 * costs nothing, hands out nothing, and the server notes when it saw the consumer.
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
        // whoever reads and acknowledges learns what is wrong; the next beat follows
      }
    };
    this.#timer = setInterval(() => {
      this.#beating ??= beat().finally(() => (this.#beating = null));
    }, everyMs);
  }

  /** Resolves when no beat is under way any more. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#beating;
  }
}
