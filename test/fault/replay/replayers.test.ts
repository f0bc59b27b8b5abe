import { after, test, type Test } from 'tap';
import type { BusServer, StartBusServer } from '../../conformance/bus-server.ts';
import { contentOf, digestOf, ReplayHarness } from '../../support/replay/harness.ts';
import { until } from '../../support/until.ts';
import { BUSES, stopStoreServer, storeServer } from '../../support/webhook/harness.ts';

after(stopStoreServer);

const TICKS = 20_000;

async function opened(t: Test, start: StartBusServer): Promise<ReplayHarness | null> {
  const server: BusServer | { skip: string } = await start();
  if ('skip' in server) {
    t.pass(server.skip, { skip: server.skip });
    return null;
  }
  t.teardown(() => server.stop());
  const postgres = await storeServer();
  const harness = await ReplayHarness.open(
    server,
    await postgres.createDatabase(undefined, { schema: false }),
  );
  t.teardown(() => harness.close());
  return harness;
}

for (const [name, start] of Object.entries(BUSES)) {
  void test(`a replay onto ${name} survives kill -9 of who runs it`, async (t) => {
    const harness = await opened(t, start);
    if (harness === null) return;
    // 10 s at speed 1
    await harness.makeTicks(TICKS, 500);
    const before = await harness.tableHash();
    const [first, second] = [await harness.child('first'), await harness.child('second')];
    const { run_id } = await harness.replays.start(harness.fields({ speed: 4, max_batch_size: 700 }));
    const holder = async (): Promise<string | null> => {
      const { rows } = await harness.client.query<{ holder: string | null }>(
        'SELECT holder FROM replay_runs WHERE run_id = $1',
        [run_id],
      );
      return rows[0].holder;
    };
    await harness.untilEmitted(run_id, TICKS / 4);
    const killed = await holder();
    await (killed === 'first' ? first : second).kill();
    const stored = (await harness.run(run_id)).rows_written;
    const killedMs = performance.now();
    await until('the other one has taken it', async () => {
      const now = await holder();
      return now !== null && now !== killed;
    });
    t.comment(`taken over after ${Math.round(performance.now() - killedMs)} ms at ${stored} of ${TICKS}`);
    const run = await harness.ended(run_id);
    t.match(run, { status: 'success', rows_written: TICKS });
    const messages = await harness.messages(run_id);
    const distinct = new Map(messages.map((message) => [message.event_id, message]));
    t.equal(distinct.size, TICKS, 'every tick was emitted');
    t.strictSame(
      [...distinct.values()].map(contentOf),
      await harness.stored(),
      'in order, when repetitions are left out',
    );
    t.ok(
      messages.length < TICKS + 4 * 2_000 * 2,
      `${messages.length - TICKS} were emitted again: two seconds of them at most`,
    );
    t.equal(run.metadata['digest'], digestOf([...distinct.values()]), 'the digest is of each once');
    t.equal(await harness.tableHash(), before);
  });
}

void test('two replayers: each run is one of theirs, each schedule starts once', async (t) => {
  const harness = await opened(t, BUSES['redis']);
  if (harness === null) return;
  await harness.makeTicks(1_000, 500);
  const [first, second] = [await harness.child('first'), await harness.child('second')];
  const ids = await Promise.all(Array.from({ length: 6 }, () => harness.replays.insert(harness.fields())));
  for (const id of ids) {
    const run = await harness.ended(id);
    t.match(run, { status: 'success', rows_written: 1_000 });
    t.equal((await harness.messages(id)).length, 1_000, 'nobody else ran it too');
  }
  const { provider, symbols } = harness.fields();
  // of the second before it is due: so the range of a run says for which time it was started
  const request = { provider, symbols, last: '1s', speed: 0 };
  await harness.replays.addSchedule({ name: 'often', cron: '* * * * * *', request });
  const runs = async (): Promise<{ run: string; end: string }[]> => {
    const { rows } = await harness.client.query<{ run: string; end: string }>(
      `SELECT run_id AS run, request->>'end' AS "end" FROM replay_runs WHERE schedule_id IS NOT NULL ORDER BY run_id`,
    );
    return rows;
  };
  await until('it has started three', async () => (await runs()).length >= 3);
  await first.kill();
  const atKill = (await runs()).length;
  await until('the other one goes on', async () => (await runs()).length >= atKill + 2);
  t.equal((await harness.replays.enableSchedule('often', false)).enabled, false);
  const started = await runs();
  const ends = started.map(({ end }) => end);
  t.strictSame(ends, [...new Set(ends)].sort(), 'one for each time that it was due');
  for (const { run } of started) t.equal((await harness.ended(Number(run))).status, 'success');
  await second.kill();
});

void test('a bus that goes away, and a database that does', async (t) => {
  const harness = await opened(t, BUSES['redis']);
  if (harness === null) return;
  await harness.makeTicks(TICKS, 500);
  await harness.child('first');
  const { run_id } = await harness.replays.start(harness.fields({ speed: 4, max_batch_size: 500 }));
  await harness.untilEmitted(run_id, 2_000);
  await harness.server.cutConnections();
  await harness.untilEmitted(run_id, 6_000);
  await harness.client.query(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE datname = current_database() AND application_name ~ '^(first|api reads)'`,
  );
  const run = await harness.ended(run_id);
  t.match(run, { status: 'success', rows_written: TICKS });
  const distinct = new Map((await harness.messages(run_id)).map((message) => [message.event_id, message]));
  t.strictSame([...distinct.values()].map(contentOf), await harness.stored());
  t.equal(run.metadata['digest'], digestOf([...distinct.values()]));
});
