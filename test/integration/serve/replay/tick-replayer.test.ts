import { after, test, type Test } from 'tap';
import { ReplayRefused, type Refusal } from '../../../../src/core/replay/refusal.ts';
import { contentOf, digestOf, ReplayHarness, START, SYMBOLS } from '../../../support/replay/harness.ts';
import { until } from '../../../support/until.ts';
import { BUSES, stopStoreServer, storeServer } from '../../../support/webhook/harness.ts';

after(stopStoreServer);

for (const [name, start] of Object.entries(BUSES)) {
  void test(`replays onto ${name}`, async (t) => {
    const server = await start();
    if ('skip' in server) return void t.pass(server.skip, { skip: server.skip });
    t.teardown(() => server.stop());
    const postgres = await storeServer();
    const harness = await ReplayHarness.open(
      server,
      await postgres.createDatabase(undefined, { schema: false }),
    );
    t.teardown(() => harness.close());
    await harness.makeTicks(2_000, 500);
    await harness.replayer();
    await t.test('everything once, in order, as it is stored', (t) => emitsAll(t, harness));
    await t.test('paused, resumed, faster, sought, cancelled', (t) => steered(t, harness));
    if (name !== 'redis') return;
    await t.test('several sources, in the order of time', (t) => merged(t, harness));
    await t.test('a topic of its own', (t) => isolated(t, harness));
    await t.test('what is refused', (t) => refused(t, harness));
  });
}

async function emitsAll(t: Test, harness: ReplayHarness): Promise<void> {
  const before = await harness.tableHash();
  const first = await harness.replays.start(harness.fields({ max_batch_size: 77 }));
  t.match(first, {
    job_name: 'tick_replay',
    provider: 'made',
    symbols: SYMBOLS,
    min_ts: START,
    metadata: { speed: 0 },
  });
  t.not(first.status, 'pending', 'somebody runs it');
  const run = await harness.ended(first.run_id);
  t.match(run, {
    status: 'success',
    rows_written: 2_000,
    error_message: null,
    max_ts: '2025-11-03T14:00:00.999000Z',
  });
  const messages = await harness.messages(run.run_id);
  t.strictSame(messages.map(contentOf), await harness.stored());
  t.strictSame(
    messages.filter(
      ({ event_id, provider, symbol, src_ts, seq, timestamp, origin, ver, kind }) =>
        event_id !== `${provider}|${symbol}|${src_ts}|${seq}` ||
        timestamp !== src_ts ||
        origin !== 'replay' ||
        ver !== 1 ||
        kind !== 'tick',
    ),
    [],
  );
  t.equal(run.metadata['digest'], digestOf(messages));
  const again = await harness.ended(await harness.replays.insert(harness.fields({ speed: 20 })));
  t.equal(again.metadata['digest'], run.metadata['digest'], 'the digest does not depend on speed or pages');
  t.equal(await harness.tableHash(), before, 'tick_data is as it was');
  const labels = `{provider=made,symbol=SPY,run_id=${run.run_id}}`;
  t.equal(harness.meter.values.get(`tick_replay_ticks_emitted_total${labels}`), 500);
  t.equal(harness.meter.values.get(`tick_replay_errors_total{run_id=${run.run_id}}`), 0);
  await until('nothing runs', () => harness.meter.values.get('tick_replay_active{}') === 0);
}

async function steered(t: Test, harness: ReplayHarness): Promise<void> {
  const { replays } = harness;
  const { run_id } = await replays.start(harness.fields({ speed: 0.1 }));
  const id = BigInt(run_id);
  await harness.untilEmitted(id, 1);
  t.equal((await replays.order(id, { action: 'pause' })).status, 'paused');
  await until('it is let go', async () => {
    const { rows } = await harness.client.query<{ holder: string | null }>(
      'SELECT holder FROM replay_runs WHERE run_id = $1',
      [run_id],
    );
    return rows[0].holder === null;
  });
  const paused = await harness.run(id);
  t.equal((await harness.messages(id)).length, paused.rows_written, 'what it has emitted is counted');
  t.equal((await replays.order(id, { action: 'resume' })).status, 'running');
  await harness.untilEmitted(id, paused.rows_written + 1);
  // beyond its end, by a lot
  await replays.order(id, { action: 'seek', to: '2025-11-03T14:00:00.900Z' });
  await until(
    'it is there',
    async () => String((await harness.run(id)).max_ts) >= '2025-11-03T14:00:00.900000Z',
  );
  await replays.order(id, { action: 'change speed', speed: 0 });
  const run = await harness.ended(id);
  t.match(run, { status: 'success', metadata: { speed: 0 } });
  const messages = await harness.messages(id);
  t.equal(run.rows_written, messages.length, 'each once');
  t.equal(new Set(messages.map(({ event_id }) => event_id)).size, messages.length);
  t.equal(messages.filter(({ src_ts }) => src_ts >= '2025-11-03T14:00:00.9').length, 200);
  t.ok(messages.length < 2_000, 'what was passed over is left out');
  t.equal(run.metadata['digest'], digestOf(messages));
  t.match(await refusalOf(replays.order(id, { action: 'pause' })), {
    kind: 'wrong_state',
    status: 'success',
  });

  const quick = await replays.start(harness.fields({ speed: 0.001 }));
  for (let times = 0; times < 10; times += 1)
    for (const action of ['pause', 'resume'] as const) await replays.order(BigInt(quick.run_id), { action });
  await until('it runs again', async () => (await harness.run(quick.run_id)).status === 'running');
  await replays.order(BigInt(quick.run_id), { action: 'change speed', speed: 0 });
  t.match(await harness.ended(quick.run_id), { status: 'success', rows_written: 2_000 });

  const slow = await replays.start(harness.fields({ speed: 0.001 }));
  t.equal((await replays.order(BigInt(slow.run_id), { action: 'cancel' })).status, 'cancelled');
  t.ok((await harness.run(slow.run_id)).completed_at);
  await until('nothing runs', () => harness.meter.values.get('tick_replay_active{}') === 0);
  t.equal((await harness.run(slow.run_id)).status, 'cancelled');
}

async function merged(t: Test, harness: ReplayHarness): Promise<void> {
  await harness.client.query(
    `INSERT INTO md_ticks (symbol, ts, source, seq, price, volume)
     SELECT 'SPY', timestamptz '${START}' + i * interval '7 milliseconds', 'made', i, 1.10 + i, 0.25 FROM generate_series(0, 99) i`,
  );
  await harness.client.query(
    `INSERT INTO bars_ohlcv (provider, symbol, "interval", ts, open, high, low, close, volume, tick_count, first_ts, last_ts, is_final)
     SELECT 'other', 'SPY', '100ms', timestamptz '${START}' + i * interval '100 milliseconds', 1, 4, 0.5, 2, 3, 1, now(), now(), i < 9
       FROM generate_series(0, 9) i`,
  );
  const { provider: _provider, ...fields } = harness.fields({
    providers: ['other', 'made'],
    sources: ['bars', 'md_ticks', 'tick_data'],
    interval: '100ms',
    max_batch_size: 40,
  });
  const run = await harness.ended(await harness.replays.insert(fields));
  const messages = await harness.messages(run.run_id);
  t.equal(run.rows_written, 2_000 + 100 + 9);
  t.equal(messages.length, run.rows_written);
  const order = messages.map(
    ({ src_ts, kind, bid, ask }) => `${src_ts}${kind === 'bar' ? 2 : (bid ?? ask) ? 0 : 1}`,
  );
  t.strictSame(order, order.toSorted(), 'by time, then by source');
  t.match(
    messages.find(({ kind }) => kind === 'bar'),
    { provider: 'other', interval: '100ms', o: 1, h: 4, l: 0.5, c: 2, v: 3, src_ts: START, origin: 'replay' },
  );
  t.match(
    messages.find(({ price }) => price === 8.1),
    { provider: 'made', symbol: 'SPY', size: 0.25, seq: 7 },
  );
}

async function isolated(t: Test, harness: ReplayHarness): Promise<void> {
  const run = await harness.ended(await harness.replays.insert(harness.fields({ topic: 'backtest.1' })));
  t.equal((await harness.messages(run.run_id)).length, 0);
  t.equal((await harness.messages(run.run_id, 'backtest.1')).length, 2_000);
  t.match(run.metadata, { topic: 'backtest.1' });
}

async function refused(t: Test, harness: ReplayHarness): Promise<void> {
  const cases: [Parameters<ReplayHarness['fields']>[0], Record<string, unknown>][] = [
    [{ symbols: ['SPY', 'NOSUCH'] }, { kind: 'unknown_symbols', symbols: ['NOSUCH'] }],
    [{ start: '2025-11-05' }, { kind: 'bad_field', field: 'start' }],
    [{ speed: -1 }, { kind: 'bad_field', field: 'speed' }],
    [{ symbols: [] }, { kind: 'bad_field', field: 'symbols' }],
    [{ sources: ['bars'] }, { kind: 'bad_field', field: 'interval' }],
    [{ topic: 'mdp.signals' }, { kind: 'bad_field', field: 'topic' }],
  ];
  for (const [fields, refusal] of cases)
    t.match(await refusalOf(harness.replays.start(harness.fields(fields))), refusal);
  t.match(await refusalOf(harness.replays.show(999_999n)), { kind: 'unknown_run' });
  const { run_id } = await harness.replays.start(harness.fields({ speed: 0.001 }));
  const seek = harness.replays.order(BigInt(run_id), { action: 'seek', to: '2024-01-01' });
  t.match(await refusalOf(seek), { kind: 'bad_field', field: 'to' });
  await harness.replays.order(BigInt(run_id), { action: 'cancel' });
  t.match(await refusalOf(harness.replays.order(BigInt(run_id), { action: 'resume' })), {
    kind: 'wrong_state',
  });
}

/** Null: it was not refused. */
async function refusalOf(asked: Promise<unknown>): Promise<Refusal | null> {
  const error: unknown = await asked.then(
    () => null,
    (error: unknown) => error,
  );
  if (error === null || error instanceof ReplayRefused) return error?.refusal ?? null;
  throw error;
}
