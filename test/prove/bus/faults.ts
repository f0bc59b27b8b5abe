import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Program } from '../../support/run/program.ts';
import { until } from '../../support/until.ts';
import { burst, BusRig, paced, type BusName } from './harness.ts';
import type { Figures, Scene } from '../harness.ts';

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
export function survivesBusFaults(scene: Scene, name: BusName, size: BusFaultSize): Promise<Figures> {
  return BusRig.with(name, scene, async (rig) => {
    const { events, kills, crashes } = size;
    const taken = await dieWithHand(rig);
    const steady = rig.consumer('steady', HAND);
    const part = paced(1, events, size.rate);
    const producer = rig.producer(part);
    const blows = plan(scene, size, name);
    let done = 0;
    for (const blow of blows) {
      await delay(scene.random.whole(LIFE_MS.least, LIFE_MS.most));
      if (blow === 'crash') await rig.crash();
      else if (blow === 'destroy') await destroyGroup(rig);
      else await killOne(rig, scene);
      done += 1;
      scene.say(
        `${name}: ${done} of ${blows.length}: ${blow}; ${await rig.pending().catch(() => '?')} pending`,
      );
      assert.equal(steady.end, null, steady.tail);
    }
    await rig.produced(producer);
    await rig.untilStored(events + HAND, steady);
    await rig.untilSettled();
    assert.equal(await rig.pending(), 0);
    assert.equal(await steady.stop(), 0, steady.tail);
    const ticks = await rig.compare([burst(0, HAND), part]);
    const letters = await rig.deadLetters();
    assert.equal(letters.size, 0, JSON.stringify([...letters.values()].slice(0, 3)));
    return {
      ticks,
      'kill -9': kills,
      'bus restarted': crashes,
      ...(name === 'redis' ? { 'XGROUP DESTROY': 1 } : {}),
      'in the hand of the dead': taken,
      pending: 0,
    };
  });
}

/** A consumer that has taken records and cannot write them: the table is locked. Then it dies. */
async function dieWithHand(rig: BusRig): Promise<number> {
  await rig.produced(rig.producer(burst(0, HAND)));
  await rig.client.query('BEGIN; LOCK TABLE tick_data IN ACCESS EXCLUSIVE MODE');
  const ghost = rig.consumer('ghost', HAND);
  await until(
    'the member waits for the table',
    async () => {
      const { rows } = await rig.client.query<{ waits: boolean }>(
        "SELECT count(*) > 0 AS waits FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND relation = 'tick_data'::regclass",
      );
      return rows[0]?.waits;
    },
    { context: () => ghost.tail },
  );
  const taken = await rig.inHand();
  await ghost.kill();
  await rig.client.query('ROLLBACK');
  return taken;
}

async function killOne(rig: BusRig, scene: Scene): Promise<void> {
  const victim: Program = rig.consumer('victim');
  await delay(scene.random.whole(LIFE_MS.least, LIFE_MS.most));
  assert.equal(victim.end, null, victim.tail);
  await victim.kill();
}

async function destroyGroup(rig: BusRig): Promise<void> {
  const { port } = new URL(rig.server.opener.address);
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
  scene: Scene,
  { kills, crashes }: BusFaultSize,
  name: BusName,
): ('kill -9' | 'crash' | 'destroy')[] {
  const blows = [
    ...Array.from({ length: kills }, () => 'kill -9' as const),
    ...Array.from({ length: crashes }, () => 'crash' as const),
    ...(name === 'redis' ? (['destroy'] as const) : []),
  ];
  return blows
    .map((blow) => ({ blow, at: scene.random.next() }))
    .sort((a, b) => a.at - b.at)
    .map(({ blow }) => blow);
}
