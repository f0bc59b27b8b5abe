import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Client } from 'pg';
import { test, type Test } from 'tap';
import { createClient } from '../../../src/client/exports.ts';
import { connect, parseDatabaseUrl } from '../../../src/store/postgres/connect.ts';
import { migrate } from '../../../src/store/schema/migrate.ts';
import { seededRandom } from '../../support/random.ts';
import { Program } from '../../support/run/program.ts';
import { freePort } from '../../support/servers/free-port.ts';
import { sharedPostgres } from '../../support/servers/postgres.ts';
import { TcpProxy } from '../../support/servers/proxy.ts';
import { until } from '../../support/until.ts';

/** Ticks of two symbols by turns, with a number each. */
class Publisher {
  readonly #database: Client;
  next = 1;

  constructor(database: Client) {
    this.#database = database;
  }

  async publish(count: number): Promise<void> {
    const events = Array.from({ length: count }, () => {
      const seq = this.next;
      this.next += 1;
      const symbol = seq % 3 === 0 ? 'B' : 'A';
      const time = new Date(Date.UTC(2026, 0, 1) + seq).toISOString();
      return { kind: 'tick', provider: 'p', symbol, src_ts: time, price: seq, seq };
    });
    await this.#database.query('SELECT bus_publish_many($1, $2, $3)', [
      'mdp.events',
      events.map(({ symbol }) => symbol),
      events.map((event) => JSON.stringify(event)),
    ]);
  }
}

interface Running {
  database: Client;
  /** host:port */
  address: string;
  /** kill -9, and a new one on the same port */
  replace: () => Promise<void>;
}

async function run(t: Test): Promise<Running> {
  const server = await sharedPostgres();
  t.after(() => server.stop());
  const url = await server.createDatabase();
  const database = await connect(parseDatabaseUrl(url), { applicationName: 'test' });
  t.after(() => database.end());
  await migrate(database);
  const folder = await mkdtemp(join(tmpdir(), 'client-live-'));
  t.after(() => rm(folder, { recursive: true }));
  const config = join(folder, 'streaming.yaml');
  await writeFile(config, 'version: 1\nbus: { type: postgres }\n');
  const port = await freePort();
  const env = { DATABASE_URL: url, STREAMING_CONFIG: config, API_PORT: String(port) };
  const serve = async (): Promise<Program> => {
    let isServed = false;
    const program = new Program('mdp', ['serve', '--metrics-port', '0'], env, ({ msg }) => {
      if (msg === 'The API is served') isServed = true;
    });
    await until('the API is served', () => isServed, { context: () => program.tail });
    return program;
  };
  let api = await serve();
  const ticks = new Program('mdp', ['stream', 'ticks', '--metrics-port', '0'], env);
  t.after(() => Promise.all([api.stop(), ticks.stop()]));
  const replace = async (): Promise<void> => {
    api.signal('SIGKILL');
    await api.ended;
    api = await serve();
  };
  return { database, address: `127.0.0.1:${port}`, replace };
}

void test('from history on, over cuts and a server that is killed, the client sees each tick once and in order', async (t) => {
  const { database, address, replace } = await run(t);
  const random = seededRandom();
  t.comment(`SEED=${random.seed}`);
  const proxy = await TcpProxy.start(address, random);
  t.after(() => proxy.stop());
  const publisher = new Publisher(database);
  await publisher.publish(600);
  await until('the first ticks are stored', async () => {
    const { rows } = await database.query<{ count: string }>('SELECT count(*) FROM tick_data');
    return Number(rows[0].count) >= 500;
  });
  const ended = new AbortController();
  t.after(() => ended.abort());
  const publishing = (async (): Promise<void> => {
    while (publisher.next <= 3000 && !ended.signal.aborted) await publisher.publish(random.whole(1, 30));
  })();
  const client = createClient({ url: `http://${proxy.address}` });
  const seen: number[] = [];
  let cuts = 0;
  let killing: Promise<void> | null = null;
  const live = client.live({
    topic: 'ticks',
    symbols: ['A'],
    where: 'price > 10',
    from: '2026-01-01',
    onCut: () => (cuts += 1),
    signal: ended.signal,
  });
  const wanted = Array.from({ length: 3000 }, (_, at) => at + 1).filter((seq) => seq % 3 !== 0 && seq > 10);
  for await (const event of live) {
    if ('loss' in event) throw new Error(`${event.event}: ${JSON.stringify(event.loss)}`);
    seen.push(Number(event.item.seq));
    if (seen.length === 1000) killing = replace();
    else if (random.percent(1)) proxy.cutAll();
    if (seen.length >= wanted.length) break;
  }
  await Promise.all([publishing, killing]);
  t.strictSame(seen.slice(0, wanted.length), wanted);
  t.ok(cuts > 0, `${cuts} cuts`);
});

void test('what the server refuses is thrown', async (t) => {
  const { address } = await run(t);
  const client = createClient({ url: `http://${address}` });
  for (const options of [{ where: 'price >' }, { lastEventId: 'no id of this API' }, { from: 'yesterday' }])
    await t.rejects(client.live({ topic: 'ticks', ...options }).next(), { code: 'bad_request', status: 400 });
});

void test('what comes while a feed that began with now is cut is not missed, whether it saw something before or not', async (t) => {
  const { database, address } = await run(t);
  const proxy = await TcpProxy.start(address);
  t.after(() => proxy.stop());
  const publisher = new Publisher(database);
  // the group of the consumer, which the live path waits for
  await publisher.publish(3);
  await until(
    'the first ticks are stored',
    async () => (await database.query('SELECT FROM tick_data')).rowCount === 3,
  );
  let received = '';
  const watched: typeof fetch = async (input, init) => {
    const { body, ...response } = await fetch(input, init);
    const text = new TransformStream<Uint8Array, Uint8Array>({
      transform(bytes, controller) {
        received += new TextDecoder().decode(bytes);
        controller.enqueue(bytes);
      },
    });
    return new Response(body?.pipeThrough(text) ?? null, response);
  };
  const client = createClient({ url: `http://${proxy.address}`, fetch: watched });
  let cuts = 0;
  const live = client.live({ topic: 'ticks', onCut: () => (cuts += 1) });
  const first = live.next();
  await until('it is connected, and knows where it begins', () => received.includes('id: '));
  proxy.refusing = true;
  proxy.cutAll();
  await until('it noticed', () => cuts > 0);
  await publisher.publish(3);
  proxy.heal();
  t.match(await first, { value: { item: { seq: 4n } } });
  await live.return();
});
