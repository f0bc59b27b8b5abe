import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { WEBHOOK_TOPIC } from '../../../src/core/market/webhook-tick.ts';
import { startDaemon, type Daemon } from '../../support/chain/daemon.ts';
import { freePort } from '../../support/servers/free-port.ts';
import { until } from '../../support/until.ts';
import { fieldsOf, rowsOf, type TickFields } from '../../support/webhook/ticks.ts';
import { differingRanges } from '../../support/webhook/ranges-oracle.ts';
import { BusHarness, type BusName } from '../bus/harness.ts';
import type { Figures, ScenarioContext } from '../harness.ts';

export interface AnsweredSize {
  /** answers 200, after each of which the daemon is killed */
  answers: number;
  /** of each request */
  ticks: number;
}

const TOKEN = randomBytes(32).toString('hex');
const STANDSTILL_MS = 60_000;

/**
 * The daemon with the stage api is killed (SIGKILL) right after each answer 200 of its webhook. Every accepted tick is in
 * md_ticks once at the end, and md_ranges is what the ticks make of it.
 */
export function keepsWhatItAnswered(
  context: ScenarioContext,
  bus: BusName,
  size: AnsweredSize,
): Promise<Figures> {
  const config = { sections: 'webhook:\n  takeover: 2s\n' };
  return BusHarness.with(bus, context, (harness) => answered(harness, size), config);
}

async function answered(harness: BusHarness, { answers, ticks }: AnsweredSize): Promise<Figures> {
  const accepted: TickFields[] = [];
  let refused = 0;
  const atKill: number[] = [];
  for (let answer = 0; answer < answers; answer += 1) {
    const request = Array.from({ length: ticks }, (_, at) => fieldsOf(answer * ticks + at));
    const { daemon, url } = await serve(harness);
    try {
      refused += await untilAccepted(url, request, daemon);
    } finally {
      daemon.kill('SIGKILL');
    }
    accepted.push(...request);
    await daemon.exited;
    atKill.push(accepted.length - (await count(harness)));
  }
  const { daemon } = await serve(harness);
  await until('all are stored', async () => (await count(harness)) >= accepted.length, {
    deadlineMs: STANDSTILL_MS,
    progress: () => count(harness),
    context: () => daemon.tail(),
  });
  await untilAcknowledged(harness, daemon);
  await daemon.stop();
  const { rows } = await harness.client.query<{ row: string }>(
    `SELECT concat_ws('|', source, symbol, seq, price, volume) AS row FROM md_ticks`,
  );
  assert.deepEqual(rows.map(({ row }) => row).sort(), rowsOf(accepted), 'each accepted tick once');
  assert.deepEqual(await differingRanges(harness.client), []);
  assert.equal((await harness.deadLetters()).size, 0);
  return {
    'ticks accepted, and in md_ticks once': accepted.length,
    'kill -9 after an answer': answers,
    'not in md_ticks at the kill, most': Math.max(...atKill),
    'requests refused, sent again': refused,
  };
}

async function serve(harness: BusHarness): Promise<{ daemon: Daemon; url: string }> {
  const port = await freePort();
  const daemon = startDaemon({
    env: {
      DATABASE_URL: harness.databaseUrl,
      STREAMING_CONFIG: harness.configFile,
      STAGES: 'api',
      METRICS_PORT: '0',
      API_PORT: `${port}`,
      API_TOKEN: TOKEN,
    },
  });
  await daemon.logged('The API is served');
  return { daemon, url: `http://127.0.0.1:${port}/ingest/tick` };
}

/** As a client does: the same again until 200. @returns how often it was not */
async function untilAccepted(url: string, request: readonly TickFields[], daemon: Daemon): Promise<number> {
  let refused = 0;
  await until(
    'a request is accepted',
    async () => {
      const response = await fetch(url, {
        method: 'POST',
        headers: { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' },
        body: JSON.stringify(request),
      });
      if (response.status === 200) return true;
      assert.equal(response.status, 503, await response.text());
      refused += 1;
      return false;
    },
    { context: () => daemon.tail() },
  );
  return refused;
}

async function count({ client }: BusHarness): Promise<number> {
  return Number((await client.query<{ n: string }>('SELECT count(*) AS n FROM md_ticks')).rows[0].n);
}

async function untilAcknowledged({ bus }: BusHarness, daemon: Daemon): Promise<void> {
  await until(
    'everything is acknowledged',
    async () => {
      const groups = await bus.groups(WEBHOOK_TOPIC);
      return groups.length > 0 && groups.every(({ pending, lag }) => pending === 0 && (lag ?? 0) === 0);
    },
    { context: () => daemon.tail() },
  );
}
