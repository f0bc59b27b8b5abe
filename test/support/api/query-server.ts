import type { AddressInfo } from 'node:net';
import type { Test } from 'tap';
import { envOf } from '../../../src/core/env.ts';
import { systemClock } from '../../../src/core/time.ts';
import { NO_LATEST, type LatestTicks } from '../../../src/serve/api/latest-ticks.ts';
import { queryRoutes } from '../../../src/serve/api/routes/queries.ts';
import type { Api } from '../../../src/serve/api/routes.ts';
import { buildApi } from '../../../src/serve/api/server.ts';
import { ReadPool, type ReadPoolOptions } from '../../../src/store/queries/read-pool.ts';

export interface QueryServer {
  app: Api;
  pool: ReadPool;
  /** http://127.0.0.1:PORT */
  url: string;
  get(path: string, headers?: Record<string, string>): Promise<Response>;
  /** the body of an answer 200 */
  json(path: string): Promise<unknown>;
  /** all items of a list, page by page, as their JSON text has them */
  items(path: string, limit?: number): Promise<Record<string, unknown>[]>;
}

/** The routes of queries over a database, open to everybody who may read. */
export async function serveQueries(
  t: Test,
  databaseUrl: string,
  options: Partial<ReadPoolOptions> & { latest?: LatestTicks } = {},
): Promise<QueryServer> {
  const { latest = NO_LATEST, ...poolOptions } = options;
  const pool = new ReadPool({ databaseUrl, ...poolOptions });
  const app = await buildApi({
    access: {
      isOpen: true,
      anonymous: { name: 'anonymous', scopes: new Set(['read']) },
      authenticate: () => null,
    },
    routes: queryRoutes({ pool, latest, clock: systemClock }),
    version: '0',
    env: envOf(),
    limits: { requestsPerSecondMax: 100_000 },
  });
  await app.listen({ host: '127.0.0.1', port: 0 });
  t.after(async () => {
    await app.close();
    await pool.close();
  });
  const url = `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`;
  const get = (path: string, headers: Record<string, string> = {}): Promise<Response> =>
    fetch(`${url}${path}`, { headers });
  const json = async (path: string): Promise<unknown> => {
    const answer = await get(path);
    const text = await answer.text();
    if (answer.status !== 200) throw new Error(`${path}: ${answer.status} ${text}`);
    return JSON.parse(text) as unknown;
  };
  const items = async (path: string, limit = 1000): Promise<Record<string, unknown>[]> => {
    const all: Record<string, unknown>[] = [];
    for (let next: string | null = ''; next !== null;) {
      const more: string = `${path.includes('?') ? '&' : '?'}limit=${limit}${next === '' ? '' : `&cursor=${next}`}`;
      const page = (await json(`${path}${more}`)) as {
        items: Record<string, unknown>[];
        next: string | null;
      };
      if (page.items.length > limit) throw new Error(`${page.items.length} items of ${limit}`);
      all.push(...page.items);
      next = page.next;
    }
    return all;
  };
  return { app, pool, url, get, json, items };
}
