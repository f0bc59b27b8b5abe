import { after, test, type Test } from 'tap';
import { IntakeError } from '../../../src/stream/webhook/tick-intake.ts';
import { seededRandom, type Random } from '../../support/random.ts';
import { until } from '../../support/until.ts';
import { BUSES, stopStoreServer, storeServer, WebhookHarness } from '../../support/webhook/harness.ts';
import { fieldsOf, rowsOf, tickOf, type TickFields } from '../../support/webhook/ticks.ts';

after(stopStoreServer);

for (const [name, start] of Object.entries(BUSES)) {
  void test(`webhook ticks by ${name} survive what ends or is away`, async (t) => {
    const server = await start();
    if ('skip' in server) return void t.pass(server.skip, { skip: server.skip });
    t.teardown(() => server.stop());
    const random = seededRandom();
    t.comment(`SEED=${random.seed}`);
    const harness = await WebhookHarness.open(t, server, await storeServer());
    await t.test('flushers that are killed', (t) => killed(t, harness, random));
    await t.test('the bus and the database', (t) => away(t, harness, random));
  });
}

/** Sends ticks as a client does: again until they are accepted. */
class Feeder {
  readonly accepted: TickFields[] = [];
  refused = 0;
  readonly #harness: WebhookHarness;
  readonly #random: Random;
  #next: number;

  constructor(harness: WebhookHarness, random: Random, first: number) {
    this.#harness = harness;
    this.#random = random;
    this.#next = first;
  }

  /** So many ticks in requests of 1 to 20, eight at once. */
  async feed(count: number): Promise<void> {
    const intake = this.#harness.intake({ limits: { answerMs: 2_000 } });
    const end = this.#next + count;
    const client = async (): Promise<void> => {
      while (this.#next < end) {
        const size = Math.min(this.#random.whole(1, 20), end - this.#next);
        const request = Array.from({ length: size }, (_, at) => fieldsOf(this.#next + at));
        this.#next += size;
        await until('a request is accepted', () => this.#accept(intake, request));
        this.accepted.push(...request);
      }
    };
    await Promise.all(Array.from({ length: 8 }, client));
    await intake.stop();
  }

  async #accept(intake: ReturnType<WebhookHarness['intake']>, request: TickFields[]): Promise<boolean> {
    try {
      await intake.accept(request.map(tickOf));
      return true;
    } catch (error) {
      if (!(error instanceof IntakeError)) throw error;
      this.refused += 1;
      return false;
    }
  }
}

/** One dies after its commit and before its acknowledgement, others at any moment. */
async function killed(t: Test, harness: WebhookHarness, random: Random): Promise<void> {
  const feeder = new Feeder(harness, random, 0);
  const holder = harness.flusherChild('holder', { holdAck: true });
  await feeder.feed(500);
  await until('it has stored some', async () => (await harness.count()) > 0);
  await holder.kill();
  let victim = harness.flusherChild('one');
  harness.flusherChild('two');
  for (let round = 0; round < 3; round += 1) {
    const before = await harness.count();
    const feeding = feeder.feed(1_500);
    await until('more is stored', async () => (await harness.count()) > before);
    await victim.kill();
    victim = harness.flusherChild(random.percent(50) ? 'one' : `again-${round}`);
    await feeding;
  }
  await harness.untilStored(feeder.accepted.length);
  await harness.untilAcknowledged();
  t.strictSame(await harness.rows(), rowsOf(feeder.accepted), 'every accepted tick once');
  t.strictSame(await harness.differing(), [], 'and the ranges are those of the ticks');
  t.strictSame(await harness.deadLetters(), []);
}

/** The servers crash while ticks come in. */
async function away(t: Test, harness: WebhookHarness, random: Random): Promise<void> {
  const feeder = new Feeder(harness, random, 100_000);
  const before = await harness.rows();
  await harness.flusher({ consumerName: 'here' });
  const store = await storeServer();
  const wreck = async (): Promise<void> => {
    await harness.server.crash();
    await feeder.feed(500);
    await store.restart('immediate');
    await harness.server.cutConnections();
  };
  await Promise.all([feeder.feed(3_000), wreck()]);
  await harness.server.crash();
  await feeder.feed(500);
  await harness.untilStored(before.length + feeder.accepted.length);
  await harness.untilAcknowledged();
  t.comment(`${feeder.refused} requests were refused`);
  t.strictSame(
    await harness.rows(),
    [...before, ...rowsOf(feeder.accepted)].sort(),
    'every accepted tick once',
  );
  t.strictSame(await harness.differing(), []);
}
