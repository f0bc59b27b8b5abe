import { after, test, type Test } from 'tap';
import { BarHarness } from '../../../support/bars/harness.ts';
import { tick } from '../../../support/bars/stored.ts';
import { sharedPostgres, type SharedPostgres } from '../../../support/servers/postgres.ts';
import { until } from '../../../support/until.ts';

let postgres: SharedPostgres | null = null;
after(() => postgres?.stop());

async function harnessOf(t: Test): Promise<BarHarness> {
  postgres ??= await sharedPostgres();
  return BarHarness.open(t, await postgres.createDatabase(undefined, { schema: false }));
}

/** tick_data takes nothing, with this code; each attempt is counted. */
async function stop(harness: BarHarness, sqlstate: string): Promise<void> {
  await harness.client.query(
    `CREATE SEQUENCE IF NOT EXISTS attempts;
     CREATE OR REPLACE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS $$
     BEGIN PERFORM nextval('attempts'); RAISE EXCEPTION 'not accepting writes' USING ERRCODE = '${sqlstate}'; END $$;
     CREATE TRIGGER stop BEFORE INSERT ON tick_data FOR EACH ROW EXECUTE FUNCTION stop()`,
  );
}

function untilTried(harness: BarHarness, attempts: number): Promise<unknown> {
  return until(`${attempts} attempts`, async () => {
    const { n } = await harness.one<{ n: string }>('SELECT last_value AS n FROM attempts');
    return Number(n) >= attempts;
  });
}

const stored = async (harness: BarHarness): Promise<number> =>
  (await harness.one<{ n: number }>('SELECT count(*)::int AS n FROM tick_data')).n;

const reasons = async (harness: BarHarness): Promise<(string | null)[]> =>
  (await harness.deadLetters()).map(({ reason }) => reason);

for (const sqlstate of ['54000', 'P0001', '23514']) {
  void test(`${sqlstate} for each row of a while: nothing is put aside, all is stored after it`, async (t) => {
    const harness = await harnessOf(t);
    await harness.consumer();
    await harness.publish([tick('SPY', 0, 1)]);
    await until('the first is stored', async () => (await stored(harness)) === 1);
    await stop(harness, sqlstate);
    await harness.publish(Array.from({ length: 200 }, (_, at) => tick('SPY', 1 + at / 100, 2 + at)));
    await untilTried(harness, 8);
    t.strictSame(await reasons(harness), []);
    await harness.client.query('DROP TRIGGER stop ON tick_data');
    await until('all are stored', async () => (await stored(harness)) === 201);
    t.strictSame(await reasons(harness), []);
  });
}

void test('the same on an empty table, where nothing is known to pass', async (t) => {
  const harness = await harnessOf(t);
  await stop(harness, '54000');
  await harness.publish(Array.from({ length: 8 }, (_, at) => tick('SPY', at, 1 + at)));
  await harness.consumer();
  await untilTried(harness, 20);
  t.strictSame(await reasons(harness), []);
  await harness.client.query('DROP TRIGGER stop ON tick_data');
  await until('all are stored', async () => (await stored(harness)) === 8);
  t.strictSame(await reasons(harness), []);
});

void test('a bad row, the first of all: its neighbours are stored, and it is put aside', async (t) => {
  const harness = await harnessOf(t);
  await harness.client.query('ALTER TABLE tick_data ADD CONSTRAINT no_evil CHECK (price <> 666)');
  await harness.publish([tick('SPY', 0, 666), ...[1, 2, 3].map((at) => tick('SPY', at, at))]);
  await harness.consumer();
  await until('it is put aside', async () => (await reasons(harness)).length > 0);
  t.strictSame(await reasons(harness), ['refused_by_database']);
  t.equal(await stored(harness), 3);
});
