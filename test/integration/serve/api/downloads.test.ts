import { test } from 'tap';
import { connect, parseDatabaseUrl } from '../../../../src/store/postgres/connect.ts';
import { migrate } from '../../../../src/store/schema/migrate.ts';
import { serveQueries } from '../../../support/api/query-server.ts';
import { startPostgres } from '../../../support/servers/postgres.ts';
import { until } from '../../../support/until.ts';

const ROWS = 400_000;
const RANGE = '/v1/ticks/BTC/range?start=2025-01-01&provider=p';

async function restOf(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<number> {
  let bytes = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return bytes;
    bytes += value.length;
  }
}

void test('downloads', async (t) => {
  const postgres = await startPostgres();
  t.after(() => postgres.stop());
  const url = await postgres.createDatabase('downloads', { schema: false });
  const admin = await connect(parseDatabaseUrl(url), { applicationName: 'admin' });
  t.after(() => admin.end().catch(() => {}));
  await migrate(admin);
  await admin.query(
    `INSERT INTO tick_data (provider, symbol, ts, price, size)
     SELECT 'p', 'BTC', timestamptz '2025-01-01Z' + n * interval '1 second', n, n FROM generate_series(1, ${ROWS}) n`,
  );
  const api = await serveQueries(t, url, { streamsMax: 1, waitingMax: 1, applicationName: 'reads' });
  const streaming = async (): Promise<number> => {
    const { rows } = await admin.query<{ count: string }>(
      `SELECT count(*) AS count FROM pg_stat_activity WHERE application_name = 'reads streams' AND state = 'active'`,
    );
    return Number(rows[0].count);
  };
  /** A download of which the beginning is read, and nothing more. */
  const begun = async (signal?: AbortSignal): Promise<ReadableStreamDefaultReader<Uint8Array>> => {
    const answer = await fetch(`${api.url}${RANGE}&format=ndjson`, signal === undefined ? {} : { signal });
    t.equal(answer.status, 200);
    const reader = (answer.body as ReadableStream<Uint8Array>).getReader();
    await reader.read();
    return reader;
  };
  await t.test('all rows arrive, in the order of time', async (t) => {
    const lines = (await (await api.get(`${RANGE}&format=csv`)).text()).split('\r\n');
    t.equal(lines.length, ROWS + 2);
    const columns = lines[0].split(',');
    const price = columns.indexOf('price');
    for (let n = 1; n <= ROWS; n += 1)
      if (lines[n].split(',')[price] !== String(n)) throw new Error(`line ${n} is ${lines[n]}`);
    t.equal(lines[ROWS].split(',')[columns.indexOf('ts')], '2025-01-05T15:06:40.000000Z');
  });

  await t.test('a client that goes away leaves its session to others', async (t) => {
    const leaving = new AbortController();
    await begun(leaving.signal);
    await until('the database sends', async () => (await streaming()) === 1);
    leaving.abort();
    await until('nothing is sent any more', async () => (await streaming()) === 0);
    const next = await begun();
    t.ok((await restOf(next)) > 0);
  });

  await t.test('others wait their turn, as many as may; queries go on meanwhile', async (t) => {
    const leaving = new AbortController();
    await begun(leaving.signal);
    const waits = api.get(`${RANGE}&format=csv`);
    await until('one waits and the next is refused', async () => {
      const answer = await api.get(`${RANGE}&format=csv`, {});
      await answer.body?.cancel();
      if (answer.status !== 503) return false;
      t.equal(answer.headers.get('retry-after'), '1');
      return true;
    });
    t.equal(((await api.json(`${RANGE}&limit=5`)) as { items: unknown[] }).items.length, 5);
    leaving.abort();
    const answer = await waits;
    t.equal(answer.status, 200);
    await answer.body?.cancel();
    await until('nothing is sent any more', async () => (await streaming()) === 0);
  });

  await t.test(
    'the database ends half way: the download breaks off, and is no complete answer',
    async (t) => {
      const reader = await begun();
      await admin.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'reads streams'`,
      );
      await t.rejects(restOf(reader));
      t.equal((await api.get('/v1/jobs')).status, 200);
    },
  );

  await t.test('no database: 503 and when to come again', async (t) => {
    await admin.end();
    await postgres.halt();
    for (const path of ['/v1/jobs', `${RANGE}&format=arrow`, `${RANGE}&limit=3`, '/v1/ticks/BTC/latest']) {
      const answer = await api.get(path);
      const body = (await answer.json()) as { error: { code: string; message: string } };
      t.equal(answer.status, 503, path);
      t.strictSame(body.error.code, 'unavailable');
      t.match(answer.headers.get('retry-after'), /^[1-9]\d*$/);
      t.notMatch(body.error.message, /postgres|127\.0\.0\.1|ECONN/, 'nothing of our insides');
    }
    await postgres.start();
    t.equal((await api.get('/v1/ticks/BTC/latest')).status, 200);
  });
});
