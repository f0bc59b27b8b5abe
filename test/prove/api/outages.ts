import assert from 'node:assert/strict';
import type { TestPostgres } from '../../support/servers/postgres.ts';
import { until } from '../../support/until.ts';
import { differingRanges } from '../../support/webhook/ranges-oracle.ts';
import { fieldsOf, rowsOf, type TickFields } from '../../support/webhook/ticks.ts';
import { BusHarness, type BusName } from '../bus/harness.ts';
import type { Figures, ScenarioContext } from '../harness.ts';
import { ServedApi } from './server.ts';

export interface FlusherKills {
  kills: number;
  ticksPerRequest: number;
}

/** Two flushers beside the API, of which one is killed and started again, over and over; some requests are sent twice. */
export async function sharesTheFlush(
  context: ScenarioContext,
  bus: BusName,
  { kills, ticksPerRequest }: FlusherKills,
): Promise<Figures> {
  return BusHarness.with(bus, context, async (harness) => {
    const random = context.random.fork();
    const ticks = new Ticks();
    const flusher = (name: string) =>
      harness.program(['flush', '--consumer', name, '--metrics-port', '0', '--batch-size', '50']);
    const first = flusher('flusher-1');
    let second = flusher('flusher-2');
    const api = await ServedApi.start(harness, ['--no-flush']);
    let repeated = 0;
    for (let kill = 0; kill < kills; kill += 1) {
      for (let requests = random.whole(1, 5); requests > 0; requests -= 1) {
        const body = JSON.stringify(ticks.draw(ticksPerRequest));
        await api.ingest(body);
        if (!random.percent(20)) continue;
        await api.ingest(body);
        repeated += 1;
      }
      await second.kill();
      second = flusher('flusher-2');
    }
    const stored = await equalsSent(harness, ticks.all);
    for (const program of [api.program, first, second]) assert.equal(await program.stop(), 0, program.tail);
    return {
      kills,
      'requests sent twice': repeated,
      accepted: ticks.all.length,
      'in md_ticks, each once': stored,
    };
  });
}

export interface WebhookOutages {
  rounds: number;
  requestsPerRound: number;
  ticksPerRequest: number;
}

/** The server of the bus is crashed and connections are cut while ticks are posted; what was not taken is sent again. */
export async function survivesServers(
  context: ScenarioContext,
  bus: BusName,
  { rounds, requestsPerRound, ticksPerRequest }: WebhookOutages,
): Promise<Figures> {
  return BusHarness.with(bus, context, async (harness) => {
    const ticks = new Ticks();
    const api = await ServedApi.start(harness);
    let sent = 0;
    for (let round = 0; round < rounds; round += 1) {
      const outage = round % 2 === 0 ? harness.crash() : harness.cutConnections();
      // a failure of it is told when it is awaited, whatever comes before
      outage.catch(() => {});
      for (let request = 0; request < requestsPerRound; request += 1)
        sent += await api.ingest(JSON.stringify(ticks.draw(ticksPerRequest)));
      await outage;
    }
    const stored = await equalsSent(harness, ticks.all);
    assert.equal(await api.program.stop(), 0, api.program.tail);
    return { outages: rounds, accepted: ticks.all.length, requests: sent, 'in md_ticks, each once': stored };
  });
}

/** The database is away and comes back, over and over: the bus keeps what is accepted meanwhile. Of a bus of its own. */
export async function survivesTheDatabase(
  context: ScenarioContext,
  server: Pick<TestPostgres, 'halt' | 'start'>,
  bus: Exclude<BusName, 'postgres'>,
  { rounds, requestsPerRound, ticksPerRequest }: WebhookOutages,
): Promise<Figures> {
  return BusHarness.with(bus, context, async (harness) => {
    const ticks = new Ticks();
    const api = await ServedApi.start(harness);
    let refused = 0;
    for (let round = 0; round < rounds; round += 1) {
      await server.halt(round % 2 === 0 ? 'immediate' : 'fast');
      for (let request = 0; request < requestsPerRound; request += 1)
        refused += (await api.ingest(JSON.stringify(ticks.draw(ticksPerRequest)))) - 1;
      await server.start();
      await harness.reconnect();
    }
    assert.equal(refused, 0, 'ticks were refused although the bus was there');
    const stored = await equalsSent(harness, ticks.all);
    assert.equal(await api.program.stop(), 0, api.program.tail);
    return { outages: rounds, 'accepted meanwhile': ticks.all.length, 'in md_ticks, each once': stored };
  });
}

/** Waits for all of them, and compares every column both ways. Returns how many there are. */
async function equalsSent({ client }: BusHarness, sent: readonly TickFields[]): Promise<number> {
  await until(
    `${sent.length} ticks are in md_ticks`,
    async () => {
      const { rows } = await client.query<{ n: string }>('SELECT count(*) AS n FROM md_ticks');
      return Number(rows[0].n) >= sent.length;
    },
    { pollMs: 100 },
  );
  const { rows } = await client.query<{ row: string }>(
    `SELECT concat_ws('|', source, symbol, seq, price, volume) AS row FROM md_ticks`,
  );
  assert.deepEqual(rows.map(({ row }) => row).sort(), rowsOf(sent), 'each accepted tick once');
  assert.deepEqual(await differingRanges(client), []);
  return sent.length;
}

/** Ticks that were drawn, each another one. */
class Ticks {
  readonly all: TickFields[] = [];

  draw(count: number): TickFields[] {
    const drawn = Array.from({ length: count }, (_, at) => fieldsOf(this.all.length + at));
    this.all.push(...drawn);
    return drawn;
  }
}
