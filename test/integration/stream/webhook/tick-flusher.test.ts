import { after, test, type Test } from 'tap';
import { decodeEvent } from '../../../../src/core/market/codec/decode.ts';
import { WEBHOOK_TOPIC } from '../../../../src/core/market/webhook-tick.ts';
import { until } from '../../../support/until.ts';
import { BUSES, stopStoreServer, storeServer, WebhookHarness } from '../../../support/webhook/harness.ts';
import { fieldsOf, rowsOf, tickOf } from '../../../support/webhook/ticks.ts';

after(stopStoreServer);

for (const [name, start] of Object.entries(BUSES)) {
  void test(`webhook ticks by ${name}`, async (t) => {
    const server = await start();
    if ('skip' in server) return void t.pass(server.skip, { skip: server.skip });
    t.teardown(() => server.stop());
    const harness = await WebhookHarness.open(t, server, await storeServer());
    await stored(t, harness);
    await aside(t, harness);
    await forwarded(t, harness);
  });
}

/** Requests of one tick and of many, before there is a flusher; then two of them. */
async function stored(t: Test, harness: WebhookHarness): Promise<void> {
  const intake = harness.intake();
  const ticks = Array.from({ length: 1_000 }, (_, number) => fieldsOf(number));
  const requests = [
    ...ticks.slice(0, 300).map((fields) => intake.accept([tickOf(fields)])),
    intake.accept(ticks.slice(300, 600).map(tickOf)),
  ];
  await Promise.all(requests);
  t.equal(await harness.count(), 0, 'they wait on the bus');
  const flushers = await Promise.all(
    ['one', 'two'].map((member) => harness.flusher({ consumerName: member })),
  );
  await intake.accept(ticks.slice(600).map(tickOf));
  // again, as a client does that had no answer
  await intake.accept(ticks.slice(500, 700).map(tickOf));
  await harness.untilStored(1_000);
  await harness.untilAcknowledged();
  t.strictSame(await harness.rows(), rowsOf(ticks), 'each once, with its digits');
  t.strictSame(await harness.differing(), [], 'and the ranges are those of the ticks');
  await Promise.all(flushers.map((flusher) => flusher.stop()));
  const { values } = harness.meter;
  t.equal(values.get('webhook_accepted_total{}'), 1_200);
  t.equal(values.get('webhook_stored_total{}'), 1_000);
  t.equal(values.get('webhook_known_total{}'), 200);
  const run = await harness.one<{ rows: string; status: string[] }>(
    `SELECT sum(rows_written) AS rows, array_agg(DISTINCT status) AS status FROM job_runs WHERE job_name = 'tick_flush'`,
  );
  t.strictSame(run, { rows: '1000', status: ['success'] });
  t.strictSame(await harness.deadLetters(), []);
}

/** What cannot be stored is put aside, and its neighbours are stored. */
async function aside(t: Test, harness: WebhookHarness): Promise<void> {
  const intake = harness.intake();
  await harness.one(`ALTER TABLE md_ticks ADD CONSTRAINT no_seven CHECK (price <> 777) NOT VALID`);
  const flusher = await harness.flusher();
  const good = [2_000, 2_001, 2_002].map(fieldsOf);
  await intake.accept([
    ...good.map(tickOf),
    tickOf({ ...fieldsOf(2_000), price: '1' }),
    tickOf({ ...fieldsOf(2_003), price: '777' }),
  ]);
  await harness.server.foreign(WEBHOOK_TOPIC, 'A', '{"symbol":"A"}');
  await harness.server.foreign(WEBHOOK_TOPIC, 'A', 'no JSON');
  await harness.server.foreign(WEBHOOK_TOPIC, 'S4', JSON.stringify(fieldsOf(2_004)));
  await harness.untilStored(1_004);
  await harness.untilAcknowledged();
  const letters = await until('four dead letters', async () => {
    const found = await harness.deadLetters();
    return found.length >= 4 && found;
  });
  t.strictSame(letters.map(({ reason }) => reason).sort(), [
    'bad_json',
    'conflict',
    'missing_provider',
    'refused_by_database',
  ]);
  t.ok(letters.every(({ group }) => group === 'tick-flusher'));
  t.strictSame(await harness.differing(), []);
  await flusher.stop();
}

/** Stored ticks become events; what comes again, again with the same id. */
async function forwarded(t: Test, harness: WebhookHarness): Promise<void> {
  const flusher = await harness.flusher({ forward: { topic: 'mdp.events', encoding: 'json' } });
  const intake = harness.intake();
  const ticks = Array.from({ length: 250 }, (_, number) => fieldsOf(3_000 + number));
  await intake.accept(ticks.map(tickOf));
  await intake.accept([tickOf({ ...fieldsOf(3_000), price: '5' })]);
  await harness.untilStored(1_004 + 250);
  await harness.untilAcknowledged();
  await flusher.stop();
  const events = (await harness.bus.read('mdp.events', 0, null, 1_000)).map(({ data, encoding }) =>
    decodeEvent(data ?? new Uint8Array(), encoding),
  );
  const ids = new Set(events.map((event) => (event.kind === 'tick' ? event.eventId : event.kind)));
  t.strictSame([...ids].sort(), ticks.map((fields) => tickOf(fields).eventId).sort());
  t.match(
    events.find((event) => event.kind === 'tick' && event.seq === 3_001n),
    { provider: 'feeder', symbol: 'S5', price: Number(fieldsOf(3_001).price), size: 0.3001 },
  );
}
