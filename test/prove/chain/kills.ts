import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { sessionsGone } from '../../support/chain/daemon.ts';
import type { ChainSpec } from '../../support/chain/expected.ts';
import type { Rig } from '../../support/chain/harness.ts';
import { withRig } from '../../support/chain/harness.ts';
import { watched } from '../../support/chain/watch.ts';
import type { Figures, Scene } from '../harness.ts';

export interface KillSize {
  spec: ChainSpec;
  count: number;
  kills: number;
}

/** one kill in so many comes while the daemon starts or waits for the lease of the one before it */
const EARLY_ONE_IN = 5;
const EARLY_MS_MAX = 6_000;
const JITTER_MS_MAX = 40;

/**
 * Must show 4: kill -9 at random moments under load, started again each time. At the end everything is there once, and
 * each start asked the sequencer for position + 1, the position having been read while no daemon ran.
 */
export async function survivesKills(scene: Scene, size: KillSize): Promise<Figures> {
  const { spec, count, kills } = size;
  return withRig({ databaseUrl: await scene.database(), spec, count }, async (rig) => {
    let position: bigint | null = null;
    const { early, looks } = await watched(rig, async () => {
      let early = 0;
      for (let kill = 0; kill < kills; kill++) {
        const isEarly = kill > 0 && scene.random.whole(1, EARLY_ONE_IN) === 1;
        if (isEarly) early += 1;
        const before = rig.starts().length;
        const left = rig.last - (position ?? spec.first - 1n);
        const moment = await killOnce(rig, scene, { isEarly, left: Number(left), kills: kills - kill });
        assertStarts(rig, before, position);
        await sessionsGone(await rig.client());
        position = await rig.position();
        await rig.look();
        await rig.compareNext();
        scene.say(`kill ${kill + 1}: ${moment}, position ${position}`);
      }
      return { early };
    });
    const before = rig.starts().length;
    const daemon = rig.daemon();
    await rig.untilCaughtUp(daemon);
    // a kill near the end may have left nothing to do
    await daemon.untilReady('ready');
    assertStarts(rig, before, position);
    await daemon.stop();
    const compared = await rig.verify();
    assert.equal(compared.ticks, count);
    const beginnings = rig.starts().filter((start) => start === spec.first).length;
    return {
      ticks: compared.ticks,
      transactions: compared.transactions,
      kills,
      'of them before it wrote': early,
      looks,
      'streams opened': rig.starts().length,
      'at the beginning': beginnings,
    };
  });
}

/** @param moment `left`: ticks that are not yet recorded; `kills`: how many more there will be, this one included */
async function killOnce(
  rig: Rig,
  { random }: Scene,
  { isEarly, left, kills }: { isEarly: boolean; left: number; kills: number },
): Promise<string> {
  const daemon = rig.daemon();
  if (isEarly) {
    const ms = random.whole(0, EARLY_MS_MAX);
    await delay(ms);
    daemon.kill('SIGKILL');
    await daemon.exited;
    return `${ms} ms after its start`;
  }
  // most of what is left stays for the later ones, whatever the numbers drawn
  const ticks = random.whole(Math.min(1, left), Math.floor((left * 0.8) / kills));
  await rig.untilWritten(ticks, daemon);
  const jitterMs = random.whole(0, JITTER_MS_MAX);
  await delay(jitterMs);
  daemon.kill('SIGKILL');
  await daemon.exited;
  return `${jitterMs} ms after ${ticks} ticks, when it had logged ${daemon.ticksWritten}`;
}

/** What was asked since: once at most, right after what the database had; at the beginning while it had nothing. */
function assertStarts(rig: Rig, before: number, position: bigint | null): void {
  const starts = rig.starts().slice(before);
  const expected = position === null ? rig.spec.first : position + 1n;
  assert.ok(starts.length <= 1, `streams of one daemon: ${starts.join(', ')}`);
  for (const start of starts) assert.equal(start, expected, 'a start asks for position + 1');
}
