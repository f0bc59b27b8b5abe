import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Program } from '../../support/run/program.ts';
import { until } from '../../support/until.ts';
import { barsEqualTickData } from './bars.ts';
import { burst, BusHarness, paced, type BusName } from './harness.ts';
import type { Figures, ScenarioContext } from '../harness.ts';

export interface BusFaultSize {
  events: number;
  /** events a second while things break */
  rate: number;
  kills: number;
  /** restarts of the server of the bus */
  crashes: number;
}

const LIFE_MS = { least: 700, most: 2_500 };
const HAND = 500;

/**
 * Must show 3: consumers killed at random moments, the server of the bus killed and restarted, on redis the group
 * destroyed, and a member that died with 500 records in its hands. Nothing is lost, nothing twice, nothing pending.
 */
export function survivesBusFaults(
  context: ScenarioContext,
  name: BusName,
  size: BusFaultSize,
): Promise<Figures> {
  return BusHarness.with(name, context, async (harness) => {
    const { events, kills, crashes } = size;
    const taken = await dieWithHand(harness);
    const steady = harness.consumer('steady', HAND);
    const part = paced(1, events, size.rate);
    const producer = harness.producer(part);
    const faults = plan(context, size, name);
    let done = 0;
    for (const fault of faults) {
      await delay(context.random.whole(LIFE_MS.least, LIFE_MS.most));
      if (fault === 'crash') await harness.crash();
      else if (fault === 'destroy') await destroyGroup(harness);
      else await killOne(harness, context);
      done += 1;
      context.say(
        `${name}: ${done} of ${faults.length}: ${fault}; ${await harness.pending().catch(() => '?')} pending`,
      );
      assert.equal(steady.end, null, steady.tail);
    }
    await harness.produced(producer);
    await harness.untilStored(events + HAND, steady);
    await harness.untilSettled();
    assert.equal(await harness.pending(), 0);
    assert.equal(await steady.stop(), 0, steady.tail);
    const ticks = await harness.compare([burst(0, HAND), part]);
    const letters = await harness.deadLetters();
    assert.equal(letters.size, 0, JSON.stringify([...letters.values()].slice(0, 3)));
    return {
      ticks,
      'final bars equal to tick_data': await barsEqualTickData(harness),
      'kill -9': kills,
      'bus restarted': crashes,
      ...(name === 'redis' ? { 'XGROUP DESTROY': 1 } : {}),
      'in the hand of the dead': taken,
      pending: 0,
    };
  });
}

/** A consumer that has taken records and cannot write them: the table is locked. Then it dies. */
async function dieWithHand(harness: BusHarness): Promise<number> {
  await harness.produced(harness.producer(burst(0, HAND)));
  await harness.client.query('BEGIN; LOCK TABLE tick_data IN ACCESS EXCLUSIVE MODE');
  const ghost = harness.consumer('ghost', HAND);
  await until(
    'the member waits for the table',
    async () => {
      const { rows } = await harness.client.query<{ waits: boolean }>(
        "SELECT count(*) > 0 AS waits FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND relation = 'tick_data'::regclass",
      );
      return rows[0]?.waits;
    },
    { context: () => ghost.tail },
  );
  const taken = await harness.inHand();
  await ghost.kill();
  await harness.client.query('ROLLBACK');
  return taken;
}

async function killOne(harness: BusHarness, context: ScenarioContext): Promise<void> {
  const victim: Program = harness.consumer('victim');
  await delay(context.random.whole(LIFE_MS.least, LIFE_MS.most));
  assert.equal(victim.end, null, victim.tail);
  await victim.kill();
}

async function destroyGroup(harness: BusHarness): Promise<void> {
  const { port } = new URL(harness.server.opener.address);
  const answer = await promisify(execFile)('redis-cli', [
    '-p',
    port,
    'XGROUP',
    'DESTROY',
    'mdp.events',
    'tick-consumer',
  ]);
  assert.equal(answer.stdout.trim(), '1');
}

function plan(
  context: ScenarioContext,
  { kills, crashes }: BusFaultSize,
  name: BusName,
): ('kill -9' | 'crash' | 'destroy')[] {
  const faults = [
    ...Array.from({ length: kills }, () => 'kill -9' as const),
    ...Array.from({ length: crashes }, () => 'crash' as const),
    ...(name === 'redis' ? (['destroy'] as const) : []),
  ];
  return faults
    .map((fault) => ({ fault, at: context.random.next() }))
    .sort((a, b) => a.at - b.at)
    .map(({ fault }) => fault);
}
