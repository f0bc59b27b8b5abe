import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test, type Test } from 'tap';
import type { Client } from 'pg';
import { DEFAULT_FEATURES, featureSet } from '../../../../src/core/feature/catalogue.ts';
import type { TickEvent } from '../../../../src/core/market/event.ts';
import { eventIdOf } from '../../../../src/core/market/event-id.ts';
import { formatMicros, systemClock } from '../../../../src/core/time.ts';
import { exportFeatures, type Comparison } from '../../../../src/serve/export/features.ts';
import { connect, parseDatabaseUrl } from '../../../../src/store/postgres/connect.ts';
import { migrate } from '../../../../src/store/schema/migrate.ts';
import { StoreClient } from '../../../../src/store/store-client.ts';
import { InferenceConsumer } from '../../../../src/stream/inference/inference-consumer.ts';
import { RulesEvaluator } from '../../../../src/stream/inference/rules/evaluator.ts';
import { SignalConsumer } from '../../../../src/stream/signals/signal-consumer.ts';
import type { SignalStageOptions } from '../../../../src/stream/signals/signal-stage.ts';
import {
  assertPublished,
  assertRecomputed,
  compareSignals,
  loadSignals,
} from '../../../prove/signals/harness/compare.ts';
import { scriptOf, type Script } from '../../../prove/signals/harness/events.ts';
import { ALLOW_LATE_MS, expectedOf, WINDOW_MS } from '../../../prove/signals/harness/expected.ts';
import { publishAll } from '../../../prove/signals/harness/publish.ts';
import { openBus, TOPIC } from '../../../support/bars/harness.ts';
import { PostgresProxy } from '../../../support/servers/postgres-proxy.ts';
import { seededRandom } from '../../../support/random.ts';
import { sharedPostgres, type SharedPostgres } from '../../../support/servers/postgres.ts';
import { until } from '../../../support/until.ts';

const RULES = `
- { name: every_window, condition: "price > 0.0", signal: 1.0 }
- { name: above_vwap, condition: "vwap_deviation_bps > 0.0", signal: 1.0, mode: edge }
`;
/** a symbol is silent soon */
const IDLE_MS = 600;
const GROUPS = ['signal-consumer', 'mdp-inference'];

let postgres: SharedPostgres | null = null;
after(() => postgres?.stop());

/** A database with both stages on its bus. */
class Stages {
  readonly #t: Test;
  readonly url: string;
  readonly client: Client;
  readonly store: StoreClient;
  readonly rulesFile: string;

  private constructor(t: Test, url: string, client: Client, rulesFile: string) {
    this.#t = t;
    this.url = url;
    this.client = client;
    this.rulesFile = rulesFile;
    this.store = this.#storeAt(url);
  }

  static async open(t: Test): Promise<Stages> {
    postgres ??= await sharedPostgres();
    const url = await postgres.createDatabase(undefined, { schema: false });
    const client = await connect(parseDatabaseUrl(url), { applicationName: 'test' });
    t.teardown(() => client.end().catch(() => {}));
    await migrate(client);
    const rulesFile = join(t.testdir(), 'rules.yaml');
    await writeFile(rulesFile, RULES);
    return new Stages(t, url, client, rulesFile);
  }

  async bus(): ReturnType<typeof openBus> {
    const bus = await openBus({ kind: 'postgres' }, this.url, this.store, 1);
    this.#t.teardown(() => bus.close());
    return bus;
  }

  /**
   * @param url of the database for what the stages store
   * @returns stops them
   */
  async start(url = this.url): Promise<() => Promise<void>> {
    const common = async (name: string): Promise<SignalStageOptions> => ({
      bus: await this.bus(),
      storeClient: this.#storeAt(url),
      consumerName: name,
      consumerGroup: name,
    });
    const times = { allowLateMs: ALLOW_LATE_MS, idleTimeoutMs: IDLE_MS };
    const set = featureSet(DEFAULT_FEATURES);
    const evaluator = await RulesEvaluator.open({ file: this.rulesFile, features: set.names, window: '2s' });
    const stages = [
      new SignalConsumer({ ...(await common(GROUPS[0])), ...times, flushIntervalSeconds: 0.1 }),
      new InferenceConsumer({
        ...(await common(GROUPS[1])),
        ...times,
        set,
        evaluator,
        windowSeconds: WINDOW_MS / 1000,
      }),
    ];
    for (const stage of stages) {
      await stage.start();
      stage.done.catch(() => {});
      this.#t.teardown(() => stage.stop());
    }
    return async () => {
      for (const stage of stages) await stage.stop();
    };
  }

  /** As the tick consumer stores them: the first of each key stays. */
  async storeTicks(events: readonly TickEvent[]): Promise<void> {
    await this.client.query(
      `INSERT INTO tick_data (provider, symbol, ts, seq, price, size, bid, ask, side)
       SELECT e.provider, e.symbol, to_timestamp(0) + e.us * interval '1 us', e.seq, e.price, e.size, e.bid, e.ask, e.side
         FROM jsonb_to_recordset($1) AS e (provider text, symbol text, us bigint, seq bigint, price float8, size float8,
           bid float8, ask float8, side smallint) ON CONFLICT DO NOTHING`,
      [
        JSON.stringify(
          events.map(({ srcTs, seq, ...rest }) => ({
            ...rest,
            us: `${srcTs}`,
            seq: `${seq}`,
            replayRunId: null,
          })),
        ),
      ],
    );
  }

  /** Everything is read and settled, and what a restart needs of it is stored. */
  async untilSettled(): Promise<void> {
    const bus = await this.bus();
    let last = '';
    await until('both groups have stored their states of everything', async () => {
      const end = await bus.end(TOPIC, 0);
      const { rows } = await this.client.query<{ at: string | null }>(
        'SELECT state_after AS at FROM signal_partitions WHERE topic = $1 ORDER BY group_name',
        [TOPIC],
      );
      if (rows.length < GROUPS.length || rows.some(({ at }) => at !== end)) return false;
      // a silence is stored, too
      const { rows: states } = await this.client.query<{ at: string }>(
        `SELECT string_agg(md5(state), '' ORDER BY group_name, provider, symbol) AS at
           FROM feature_states HAVING max(updated_at) < now() - interval '${2 * IDLE_MS} ms'`,
      );
      const isSame = states.length > 0 && states[0].at === last;
      last = states[0]?.at ?? '';
      return isSame;
    });
  }

  async lateOf(group: string): Promise<number> {
    const { rows } = await this.client.query<{ n: number }>(
      'SELECT count(*)::int AS n FROM features_late WHERE group_name = $1',
      [group],
    );
    return rows[0].n;
  }

  /** Every symbol of the first provider, as `mdp export features` does it. */
  async exported(): Promise<Comparison[]> {
    const { rows } = await this.client.query<{ provider: string; symbol: string }>(
      'SELECT DISTINCT provider, symbol FROM tick_data ORDER BY 1, 2',
    );
    const compared: Comparison[] = [];
    for (const { provider, symbol } of rows) {
      const options = {
        signals: this.store.signals,
        topic: TOPIC,
        group: GROUPS[1],
        provider,
        set: featureSet(DEFAULT_FEATURES),
        windowMs: WINDOW_MS,
        labels: [],
        startUs: 0,
        endUs: Number(systemClock.nowMicros()),
      };
      compared.push(await exportFeatures(options, symbol, () => Promise.resolve()));
    }
    return compared;
  }

  #storeAt(url: string): StoreClient {
    const store = new StoreClient({ dbUri: url, applicationName: 'stage' });
    this.#t.teardown(() => store.aclose());
    return store;
  }
}

function madeOf(t: Test, events: number): Script {
  const { seed } = seededRandom();
  t.comment(`SEED=${seed}`);
  const script = scriptOf(seed, { events, perSecond: 15 });
  return { ...script, pauseAt: script.events.length };
}

function assertEqual(t: Test, compared: readonly Comparison[]): void {
  t.strictSame(
    compared.flatMap(({ symbol, differingHours }) => differingHours.map((hour) => `${symbol} ${hour}`)),
    [],
  );
  t.ok(compared.every(({ equalHours }) => equalHours > 0));
}

void test('lost answers and connections of the database lose, double and change no signal', async (t) => {
  const stages = await Stages.open(t);
  const script = madeOf(t, 2_000);
  const expected = await expectedOf(script, stages.rulesFile);
  await loadSignals(stages.client, 'expected', expected.signals);
  const proxy = await PostgresProxy.at(stages.url);
  t.teardown(() => proxy.stop());
  await stages.start(proxy.url(stages.url));
  const bus = await stages.bus();
  proxy.answers.loseEvery = 5;
  const parts = 20;
  for (let part = 0; part < parts; part += 1) {
    const size = Math.ceil(script.events.length / parts);
    await publishAll(bus, script.events.slice(part * size, (part + 1) * size));
    if (part % 5 === 2) proxy.cutAll();
  }
  await until('an answer was lost', () => proxy.lost('stage') > 1);
  proxy.heal();
  await stages.untilSettled();
  t.comment(`answers to COMMIT lost: ${proxy.lost('stage')}`);
  t.equal(await compareSignals(stages.client, 'expected', 'signals'), expected.signals.length);
  await assertPublished(stages.client, bus);
  t.equal(await stages.lateOf(GROUPS[0]), expected.late.signals);
  t.equal(await stages.lateOf(GROUPS[1]), expected.late.infer);
});

void test('a group that begins behind what was trimmed has the features of all that is stored', async (t) => {
  const stages = await Stages.open(t);
  const { events } = madeOf(t, 2_000);
  const seam = Math.floor(events.length / 2);
  await stages.storeTicks(events.slice(0, seam));
  const bus = await stages.bus();
  await publishAll(bus, events.slice(seam));
  await stages.start();
  await stages.storeTicks(events);
  await stages.untilSettled();
  const recomputed = await assertRecomputed(stages.client, 0n, 'only what there is');
  t.comment(`signals that SQL makes as well: ${recomputed}`);
  assertEqual(t, await stages.exported());

  // sent again long after they took part, as events or as what features began with, and others that are late
  const [late] = [await stages.lateOf(GROUPS[1])];
  const again = events.slice(seam, seam + 50);
  const fresh = again.map((event) => ({
    ...event,
    seq: event.seq + 1_000_000n,
    eventId: `${event.eventId}x`,
  }));
  await publishAll(bus, [...again, ...events.slice(0, 50), ...fresh]);
  await stages.storeTicks(fresh);
  await stages.untilSettled();
  const distinct = new Set(
    fresh.map(({ provider, symbol, srcTs, seq }) => `${provider}|${symbol}|${srcTs}|${seq}`),
  );
  t.equal(await stages.lateOf(GROUPS[1]), late + distinct.size, 'what took part is not late');
  assertEqual(t, await stages.exported());
});

void test('what comes again is not late, whatever came between, stored as a tick or not; what is late is', async (t) => {
  const stages = await Stages.open(t);
  const { events } = madeOf(t, 20);
  const [{ srcTs, ...first }] = events;
  // a minute apart: features forget one before the next comes; more than a state holds
  const ticks = Array.from({ length: 1_500 }, (_, at) =>
    eventAt(first, srcTs + BigInt(at) * 60_000_000n, BigInt(at)),
  );
  const again = [...ticks.slice(0, 600), ...ticks.slice(900, 1_000)];
  const late = ticks.slice(100, 150).map((tick) => eventAt(tick, tick.srcTs + 1n, tick.seq));
  const bus = await stages.bus();
  // all in one burst, none of them in tick_data
  await publishAll(bus, [...ticks, ...again, ...late.slice(0, 20), ...late.slice(0, 10)], { batch: 5_000 });
  const stop = await stages.start();
  await stages.untilSettled();
  for (const group of GROUPS) t.equal(await stages.lateOf(group), 20, group);
  await stop();
  // and once more, from what a restart knows, when all that was published is stored
  await stages.storeTicks([...ticks, ...late]);
  await publishAll(bus, [...again, ...late, ...again], { batch: 5_000 });
  await stages.start();
  await stages.untilSettled();
  for (const group of GROUPS) t.equal(await stages.lateOf(group), 50, group);
  assertEqual(t, await stages.exported());
});

function eventAt(event: Omit<TickEvent, 'srcTs'>, srcTs: bigint, seq: bigint): TickEvent {
  const at = { ...event, srcTs, seq };
  return { ...at, eventId: eventIdOf(at.provider, at.symbol, formatMicros(srcTs), seq, null) };
}
