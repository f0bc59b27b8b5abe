import type { Client } from 'pg';
import { deadline } from '../../core/wait.ts';

/** Drops a connection without a word: the server may be gone, and pg has no public way not to ask it. */
export function destroy(client: Client): void {
  (client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
}

/** Rejects when the database takes longer than `ms`; the work itself is not stopped, so its connection must be dropped. */
export function answerWithin<T>(work: Promise<T>, ms: number): Promise<T> {
  return deadline(work, ms, () => new Error(`no answer from the database for ${ms} ms`));
}
