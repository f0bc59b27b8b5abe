import { test } from 'tap';
import { connect, parseDatabaseUrl } from '../../../../src/store/postgres/connect.ts';
import { copyStream } from '../../../../src/store/postgres/copy-stream.ts';
import { sharedPostgres } from '../../../support/servers/postgres.ts';
import { until } from '../../../support/until.ts';

const MB = 2 ** 20;

void test('pages are whole rows, and no more is read than somebody takes', async (t) => {
  const server = await sharedPostgres();
  t.after(() => server.stop());
  const client = await connect(parseDatabaseUrl(await server.createDatabase()), { applicationName: 'test' });
  t.after(() => client.end());

  const lines = `COPY (SELECT n, repeat('x', n % 3000) FROM generate_series(1, 100000) n) TO STDOUT`;
  const stream = client.connection.stream as unknown as { bytesRead: number; isPaused(): boolean };
  const before = stream.bytesRead;
  let count = 0;
  let pages = 0;
  for await (const page of copyStream(client, lines)) {
    pages += 1;
    if (pages === 2) {
      // three pages are in memory at most, and what was on its way
      await until('the socket is paused', () => stream.isPaused());
      t.ok(stream.bytesRead - before < 10 * MB, `${stream.bytesRead - before} bytes of 150 MB`);
    }
    const text = Buffer.from(page.buffer, page.byteOffset, page.length).toString();
    t.equal(text.at(-1), '\n');
    for (const line of text.split('\n').slice(0, -1)) {
      count += 1;
      if (line !== `${count}\t${'x'.repeat(count % 3000)}`)
        throw new Error(`line ${count}: ${line.slice(0, 40)}`);
    }
  }
  t.equal(count, 100_000);
  t.ok(pages > 50, `${pages} pages`);
  t.strictSame((await client.query('SELECT 1 AS it')).rows, [{ it: 1 }], 'the session goes on');

  const none = await Array.fromAsync(copyStream(client, 'COPY (SELECT 1 WHERE false) TO STDOUT'));
  t.strictSame(none, []);
  await t.rejects(Array.fromAsync(copyStream(client, 'COPY nothing TO STDOUT')), { code: '42P01' });
  t.strictSame((await client.query('SELECT 1 AS it')).rows, [{ it: 1 }], 'also after a mistake');
});
