import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'tap';
import { formatMicros } from '../../../../src/core/time.ts';
import { produceAt, startKafkaBus } from '../../../support/bus/kafka-bus.ts';
import { migrateAll, withClient } from '../../../support/bus/postgres-bus.ts';
import { Program } from '../../../support/run/program.ts';
import { Scrape } from '../../../support/run/scrape.ts';
import { freePort } from '../../../support/servers/free-port.ts';
import { sharedPostgres } from '../../../support/servers/postgres.ts';
import { startRedisBus } from '../../../support/servers/redis.ts';
import { until } from '../../../support/until.ts';

const HOUR_MS = 3_600_000;
/** between two ids that are made of one time: as a number it may have steps of 256 */
const APART = 1024;

interface Strange {
  /** the configuration's `bus` */
  config: string;
  /** times that a program may set, ms since 1970, in the order in which they can be written */
  claimed: readonly number[];
  put(text: string, claimedMs: number): Promise<void>;
}

for (const kind of ['redis', 'kafka'] as const) {
  void test(`${kind}: times that a stranger set decide neither what is in the future nor how late a bar is`, async (t) => {
    const bus = await (kind === 'redis' ? startRedisBus() : startKafkaBus());
    if ('skip' in bus) {
      t.comment(`skipped: ${bus.skip}`);
      return;
    }
    t.after(() => bus.stop());
    const nowMs = Date.now();
    const { address } = bus.opener;
    const strange: Strange =
      kind === 'redis'
        ? {
            config: `type: redis\n  redis: { uri: "${address}" }`,
            claimed: [1, Math.floor(nowMs / 1000), nowMs * 1_000_000],
            put: (text, ms) => bus.foreignAt('mdp.events', text, ms),
          }
        : {
            config: `type: kafka\n  kafka: { brokers: "${address}" }`,
            claimed: [-1, Math.floor(nowMs / 1000), nowMs - 100 * HOUR_MS],
            put: (text, ms) => produceAt(address, 'mdp.events', text, ms),
          };
    const postgres = await sharedPostgres();
    t.after(() => postgres.stop());
    const url = await postgres.createDatabase(undefined, { schema: false });
    await migrateAll(url);
    const folder = await mkdtemp(join(tmpdir(), 'tick-strange-'));
    t.after(() => rm(folder, { recursive: true, force: true }));
    const config = join(folder, 'streaming.yaml');
    await writeFile(config, `version: 1\nbus:\n  ${strange.config}\nmicro_batch: { idle_timeout: 500ms }\n`);

    const put = (seq: number, srcMs: number, claimedMs: number): Promise<void> => {
      const src_ts = formatMicros(BigInt(srcMs) * 1000n);
      return strange.put(
        JSON.stringify({ provider: 'p', symbol: 'SPY', price: seq, size: 1, seq, src_ts }),
        claimedMs,
      );
    };
    // of each time one that is good, and one that lies an hour ahead
    let seq = 0;
    for (const claimed of strange.claimed) {
      await put((seq += 1), nowMs, claimed);
      await put((seq += 1), nowMs + HOUR_MS, kind === 'redis' ? claimed + APART : claimed);
    }
    const port = await freePort();
    const programs = [
      ['ticks', '--metrics-port', '0'],
      ['micro-batch', '--metrics-port', `${port}`],
    ].map((args) => new Program('mdp', ['stream', ...args, '--config', config], { DATABASE_URL: url }));
    t.after(() => Promise.all(programs.map((program) => program.kill())));
    const rows = async (query: string): Promise<unknown[]> =>
      withClient(url, async (client) => (await client.query({ text: query, rowMode: 'array' })).rows);

    const good = strange.claimed.map((_, at) => [2 * at + 1]);
    await until(
      'they are stored',
      async () => (await rows('SELECT 1 FROM tick_data')).length >= good.length,
      {
        context: () => programs[0]?.tail ?? '',
      },
    );
    await until(
      'and in a bar',
      async () => (await rows('SELECT 1 FROM bars_ohlcv WHERE is_final')).length > 0,
      {
        context: () => programs[1]?.tail ?? '',
      },
    );
    const open = await bus.open({
      partitions: {},
      maxBytes: 2 ** 31,
      clientName: 'test',
      checkpoints: {
        read: () => Promise.resolve(null),
        write: () => Promise.resolve(),
        starting: () => Promise.resolve(1),
        drop: () => Promise.resolve(),
      },
      env: {
        log: () => {},
        clock: { nowMicros: () => BigInt(Date.now()) * 1000n, monotonicMs: () => 0 },
        random: Math.random,
      },
    });
    t.after(() => open.close());
    const refused = async (): Promise<string[]> =>
      (await open.read('mdp.events.dlq', 0, null, 100))
        .map(({ data }) => JSON.parse(Buffer.from(data ?? []).toString()) as Record<string, string>)
        .map(({ reason, group }) => `${group} ${reason}`)
        .sort();
    const future = ['mdp-consumers', 'tick-consumer'].flatMap((group) => good.map(() => `${group} future`));
    await until('the others are put aside by both', async () => (await refused()).length >= future.length);
    t.strictSame(await refused(), future);
    t.strictSame(await rows('SELECT seq::int FROM tick_data ORDER BY seq'), good);
    t.strictSame(await rows(`SELECT tick_count::int, volume FROM bars_ohlcv WHERE "interval" = '2s'`), [
      [good.length, good.length],
    ]);
    const [latency] = (await Scrape.of(port)).values('microbatch_window_latency_ms_sum');
    t.ok(latency >= 0 && latency < HOUR_MS, `${latency}`);
    for (const program of programs) t.equal(await program.stop(), 0, program.tail);
  });
}
