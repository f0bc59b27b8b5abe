import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { tableFromIPC } from 'apache-arrow';
import type { Command } from 'commander';
import { test, type Test } from 'tap';
import type { StreamBus } from '../../../../src/bus/bus.ts';
import { createClient } from '../../../../src/client/exports.ts';
import { DEAD_LETTER_TOPIC, deadLetterId, deadLetterOf } from '../../../../src/core/market/dead-letter.ts';
import { systemClock } from '../../../../src/core/time.ts';
import { registerDlq } from '../../../../src/run/cli/dlq/dlq.ts';
import { deadLetterRecords } from '../../../../src/stream/dead-letters/outgoing.ts';
import { ResolutionWriter } from '../../../../src/stream/dead-letters/resolution-writer.ts';
import type { RefusedRecord } from '../../../../src/core/market/dead-letter.ts';
import { busIn, serveQueries, type QueryServer } from '../../../support/api/query-server.ts';
import { migrateAll, withClient } from '../../../support/bus/postgres-bus.ts';
import { testEnv } from '../../../support/bus/env.ts';
import { runInProcess } from '../../../support/run/command-in-process.ts';
import { sharedPostgres } from '../../../support/servers/postgres.ts';
import { parseCsv } from '../../../support/table/csv.ts';
import { BUSES } from '../../../support/webhook/harness.ts';

const LETTERS = 23;

function refused(number: number): RefusedRecord {
  return {
    topic: number % 5 === 0 ? 'ticks.received' : 'mdp.events',
    msgId: number === 7 ? null : `${1_755_945_303_178 + number}-0`,
    group: number % 4 === 0 ? null : 'tick-consumer',
    reason: number % 3 === 0 ? 'conflict' : 'bad_json',
    detail: `"quoted", ß\n${number}`,
    key: number % 2 === 0 ? null : 'SPY',
    encoding: number === 9 ? 'msgpack' : 'json',
    raw: Buffer.from([number, 0, 255]),
    at: 1_761_904_800_000_000n + BigInt(number),
  };
}

/** Some dead letters, one of them twice, some resolved. */
async function fill(bus: StreamBus): Promise<void> {
  const all = Array.from({ length: LETTERS }, (_, number) => refused(number));
  await bus.publish(DEAD_LETTER_TOPIC, deadLetterRecords([...all.slice(0, 12), all[3], ...all.slice(12)]));
  const writer = new ResolutionWriter(bus, 'retried', systemClock);
  for (const number of [2, 3, 20]) {
    const letter = deadLetterOf(all[number]);
    await writer.add({ id: deadLetterId(letter), rawSha256: letter.rawSha256, msgId: `again-${number}` });
  }
  await writer.flush();
}

const PATHS: [string, number][] = [
  ['/v1/dead-letters?source=bus', LETTERS],
  ['/v1/dead-letters?source=bus&status=all', LETTERS],
  ['/v1/dead-letters?source=bus&status=open', LETTERS - 3],
  ['/v1/dead-letters?source=bus&status=resolved', 3],
  ['/v1/dead-letters?source=bus&reason=conflict', 8],
  ['/v1/dead-letters?source=bus&reason=conflict&status=open', 7],
  ['/v1/dead-letters?source=bus&reason=none', 0],
];

async function isListed(t: Test, api: QueryServer): Promise<void> {
  for (const [path, count] of PATHS) {
    const whole = await api.items(path);
    t.equal(whole.length, count, path);
    t.strictSame(await api.items(path, 4), whole, `${path} by fours`);
  }
  const open = '/v1/dead-letters?source=bus&status=open';
  t.strictSame(await api.items(open, 1), await api.items(open), 'one by one');
  const [newest] = await api.items('/v1/dead-letters?source=bus');
  t.match(newest, { detail: `"quoted", ß\n${LETTERS - 1}`, bytes: 3, is_cut: false, source: 'bus' });
  const resolved = await api.items('/v1/dead-letters?source=bus&status=resolved');
  t.strictSame(
    resolved.map(({ published_as }) => published_as),
    ['again-20', 'again-3', 'again-2'],
  );
}

for (const [kind, start] of Object.entries(BUSES)) {
  void test(`the dead letters on ${kind}, in pages of any size`, async (t) => {
    const server = await start();
    if ('skip' in server) {
      t.comment(server.skip);
      return;
    }
    t.teardown(() => server.stop());
    const bus = await server.open({
      partitions: {},
      maxBytes: 2 ** 31,
      clientName: 'test',
      checkpoints: {
        read: () => Promise.resolve(null),
        write: () => Promise.resolve(),
        starting: () => Promise.resolve(1),
        drop: () => Promise.resolve(),
      },
      env: testEnv(),
    });
    t.teardown(() => bus.close());
    const api = await serveQueries(t, 'postgres://nobody@127.0.0.1:1/none', { bus });
    t.strictSame(await api.items('/v1/dead-letters?source=bus'), []);
    await fill(bus);
    await isListed(t, api);
    const { next } = (await api.json('/v1/dead-letters?source=bus&limit=2')) as { next: string };
    const read = JSON.parse(Buffer.from(next, 'base64url').toString()) as { of: string; key: object };
    for (const key of [
      { ...read.key, position: '1-2-3' },
      { ...read.key, position: kind === 'redis' ? '1' : '1-0' },
      { partition: '0' },
      {},
    ]) {
      const cursor = Buffer.from(JSON.stringify({ ...read, key })).toString('base64url');
      t.equal(
        (await api.get(`/v1/dead-letters?source=bus&cursor=${cursor}`)).status,
        400,
        JSON.stringify(key),
      );
    }
    t.equal((await api.get(`/v1/dead-letters?source=bus&status=open&cursor=${next}`)).status, 400);
    t.equal((await api.get(`/v1/dead-letters?cursor=${next}`)).status, 400);
  });
}

void test('dead letters of chain and bus over HTTP', async (t) => {
  const server = await sharedPostgres();
  t.after(() => server.stop());
  const url = await server.createDatabase(undefined, { schema: false });
  await migrateAll(url);
  const bytes = Buffer.alloc(5_000, 7);
  const [{ id }] = await withClient(url, async (client) => {
    const sql = `INSERT INTO dead_letters (tick_number, reason, raw, raw_sha256) VALUES (18446744073709551615, 'wire', $1, '\\xaa')
      RETURNING dead_letter_id AS id`;
    return (await client.query<{ id: string }>(sql, [bytes])).rows;
  });
  const bus = busIn(url);
  t.after(() => bus.close());
  await fill(bus);
  const api = await serveQueries(t, url);
  const client = createClient({ url: api.url });

  await t.test('items are those of mdp dlq list --bus --json', async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'tick-dlq-'));
    t.after(() => rm(folder, { recursive: true, force: true }));
    const config = join(folder, 'streaming.yaml');
    await writeFile(config, 'version: 1\nbus:\n  type: postgres\n');
    const env = { databaseUrl: url, tickBytesMax: () => 4 * 2 ** 20, clock: systemClock };
    const register = (program: Command): void => registerDlq(program, env);
    for (const status of ['open', 'resolved', 'all']) {
      const args = ['dlq', 'list', '--bus', '--json', '--status', status, '--limit', '0'];
      const { out } = await runInProcess(register, ...args, '--config', config);
      const printed = out.trimEnd().split('\n');
      const path = `/v1/dead-letters?source=bus&status=${status}`;
      t.strictSame(
        (await api.items(path)).map((item) => JSON.stringify(item)),
        printed,
        status,
      );
    }
  });

  await t.test('in every format', async (t) => {
    const path = '/v1/dead-letters?source=bus';
    const whole = await api.items(path);
    const lines = await (await api.get(`${path}&format=ndjson`)).text();
    t.strictSame(
      lines
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as unknown),
      whole,
    );
    const [header, ...rows] = parseCsv(await (await api.get(`${path}&format=csv`)).text());
    t.strictSame(header, Object.keys(whole[0]));
    t.strictSame(
      rows.map(([eventId]) => eventId),
      whole.map(({ event_id }) => event_id),
    );
    const table = tableFromIPC(await (await api.get(`${path}&format=arrow`)).arrayBuffer());
    t.equal(table.numRows, LETTERS);
    const page = await api.get(`${path}&format=csv&limit=5`);
    t.match(page.headers.get('link'), /cursor=[^>]*>; rel="next"$/);
    t.equal(parseCsv(await page.text()).length, 6);
  });

  await t.test('one with its bytes, by the id that it has', async (t) => {
    const items = await api.items('/v1/dead-letters?source=bus');
    for (const item of items) {
      const { raw, ...rest } = (await api.json(
        `/v1/dead-letters/${encodeURIComponent(String(item['event_id']))}`,
      )) as Record<string, unknown>;
      t.strictSame(rest, item);
      const number = Number(/\d+$/.exec(String(item['detail']))?.[0]);
      t.strictSame(Buffer.from(String(raw), 'base64'), Buffer.from([number, 0, 255]));
    }
    const ofChain = await client.deadLetter(BigInt(id));
    t.match(ofChain, { source: 'chain', tick_number: 2n ** 64n - 1n, bytes: 5_000 });
    t.strictSame(Buffer.from(ofChain.raw, 'base64'), bytes);
    const [listed] = await api.items('/v1/dead-letters');
    const { raw, ...rest } = (await api.json(`/v1/dead-letters/${id}`)) as Record<string, unknown>;
    t.equal(raw, bytes.toString('base64'));
    t.strictSame(rest, listed);
    for (const [missing, status] of [
      ['mdp.events%7C1', 404],
      ['999', 404],
      ['%7C', 404],
      ['x', 400],
      ['-1', 400],
      [`a%7C${'1'.repeat(600)}`, 400],
    ] as const)
      t.equal((await api.get(`/v1/dead-letters/${missing}`)).status, status, missing);
  });

  await t.test('by the client', async (t) => {
    const open = await Array.fromAsync(client.busDeadLetters({ status: 'open', limit: 7 }));
    t.equal(open.length, LETTERS - 3);
    t.match(await Array.fromAsync(client.chainDeadLetters({ status: 'all' })), [{ source: 'chain' }]);
  });
});

void test('without the bus its dead letters are 503, and too many who ask are refused', async (t) => {
  const gate = Promise.withResolvers<void>();
  const made = busIn('postgres://nobody@127.0.0.1:1/none');
  t.teardown(() => made.close());
  const away = await serveQueries(t, 'postgres://nobody@127.0.0.1:1/none');
  const answer = await away.get('/v1/dead-letters?source=bus');
  t.equal(answer.status, 503);
  t.match(await answer.json(), { error: { code: 'unavailable', message: 'the bus does not answer' } });
  const api = await serveQueries(t, 'postgres://nobody@127.0.0.1:1/none', {
    bus: {
      kind: 'postgres',
      partitions: () => 1,
      groups: () => Promise.resolve([]),
      compare: () => 0,
      read: () => Promise.resolve([]),
      tail: () => gate.promise.then(() => []),
    },
  });
  const asked = Array.from({ length: 25 }, () => api.get('/v1/dead-letters?source=bus'));
  const refusals = (await Promise.all(asked.slice(20))).map(({ status }) => status);
  gate.resolve();
  const answered = (await Promise.all(asked.slice(0, 20))).map(({ status }) => status);
  t.strictSame(
    [...answered, ...refusals].sort((a, b) => a - b),
    [...Array<number>(20).fill(200), ...Array<number>(5).fill(503)],
  );
});
