import type { Client } from 'pg';
import { serverError } from './last-words.ts';
import { beginWriting } from './pooler.ts';

/** All or nothing. Statements see what others commit meanwhile. Rejects with the first error, in the server's words. */
export function inTransaction<T>(client: Client, work: () => Promise<T>): Promise<T> {
  return within(client, beginWriting(client).join('; '), work);
}

/** Read only; all statements see one state of the database. Rejects as inTransaction() does. */
export function inSnapshot<T>(client: Client, read: () => Promise<T>): Promise<T> {
  return within(client, 'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY', read);
}

async function within<T>(client: Client, begin: string, work: () => Promise<T>): Promise<T> {
  try {
    await client.query(begin);
    const done = await work();
    await client.query('COMMIT');
    return done;
  } catch (error) {
    await client.query('ROLLBACK').catch(() => {}); // of a session that is gone: `error` tells why
    throw serverError(client, error);
  }
}
