import type { z } from 'zod';
import { readBatches, readPage, type Query } from '../../store/queries/query.ts';
import type { List } from './answer.ts';
import { decodeCursor, identityOf } from './cursor.ts';
import type { Format } from './media.ts';
import type { Reading } from './reading.ts';

export interface QueryList<K> {
  reading: Reading;
  /** name of the route, for its cursors */
  route: string;
  /** the parameters of the query */
  asked: { limit?: number | undefined; cursor?: string | undefined; format?: Format | undefined };
  /** parameters of the path */
  path?: Readonly<Record<string, string>>;
  /** what a cursor holds */
  key: z.ZodType<K>;
  keyOf: List['keyOf'];
  /** the rows behind a key; null: from the first */
  query: (after: K | null) => Query;
}

/** A list that is one statement, by page or whole. @throws ApiError for a cursor of another query */
export function listOfQuery<K>({ reading, route, asked, path = {}, key, keyOf, query }: QueryList<K>): List {
  const identity = identityOf(route, { ...asked, ...path });
  const after = asked.cursor === undefined ? null : decodeCursor(asked.cursor, identity, key);
  const made = query(after);
  return {
    identity,
    asked,
    keyOf,
    rows: {
      columns: made.columns,
      page: (limit) => reading.run((client) => readPage(client, made, limit)),
      all: () => reading.stream((client) => readBatches(client, made)),
    },
  };
}
