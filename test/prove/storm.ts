import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { sessionsGone } from '../support/daemon.ts';
import type { ChainSpec } from '../support/expected.ts';
import { withRig } from '../support/rig.ts';
import { until } from '../support/until.ts';
import type { Figures, Scene } from './scene.ts';

export interface StormSize {
  spec: ChainSpec;
  count: number;
  /** each is a kill -9 or a reset of all connections */
  blows: number;
}

const GAP_EVERY = 1999n;
const MALFORMED_EVERY = 3001n;
const LOST_COMMIT_EVERY = 11;

/**
 * Everything at once: a stream that is cut, swaps, repeats, leaves out and spoils ticks, a database whose answers get
 * lost and whose connections break, and kill -9 in between. P1: each number ends in the tables, in a dead letter or in
 * a gap, and in one of them only. Gaps that GetTick denies are given up; those of frames without a number stay open, for
 * GetTick has the bad tick, too.
 */
export async function survivesStorm(scene: Scene, { spec, count, blows }: StormSize): Promise<Figures> {
  const faults = [
    'cut:7001',
    'swap:401',
    'duplicate:503',
    'rewrite:1009',
    `gap-forever:${GAP_EVERY}`,
    `malformed-forever:${MALFORMED_EVERY}`,
  ];
  const sim = faults.flatMap((fault) => ['--fault', fault]);
  return withRig({ databaseUrl: await scene.database(), spec, count, sim, proxied: true }, async (rig) => {
    const proxy = rig.proxy!;
    proxy.faults.loseCommitEvery = LOST_COMMIT_EVERY;
    let daemon = rig.daemon();
    let kills = 0;
    for (let blow = 0; blow < blows; blow++) {
      const isKill = blow === 0 || scene.random.whole(0, 2) === 0;
      // most of what is left stays for the later ones, whatever the numbers drawn
      const left = Number(rig.last - ((await rig.position()) ?? spec.first - 1n));
      const step = scene.random.whole(Math.min(1, left), Math.floor((left * 0.8) / (blows - blow)));
      const target = daemon.ticksWritten + step;
      // ticks beyond the position may be stored already: near the end there may be fewer left than it seems
      const end = rig.last;
      await until(
        `${target} ticks written`,
        async () => daemon.ticksWritten >= target || (await rig.position()) === end,
        { pollMs: 2, context: () => daemon.state() },
      );
      await delay(scene.random.whole(0, 30));
      if (!isKill) {
        proxy.cutAll();
        continue;
      }
      kills += 1;
      daemon.kill('SIGKILL');
      await daemon.exited;
      await sessionsGone(await rig.client());
      await rig.check();
      daemon = rig.daemon();
    }
    await rig.untilCaughtUp(daemon);
    proxy.faults.loseCommitEvery = 0;
    await until(
      'every tick that GetTick denies is given up',
      async () => (await rig.check()).unfillable.length === multiples(GAP_EVERY, rig.last).length,
      { context: () => daemon.state() },
    );
    await daemon.untilReady('gap');
    await daemon.stop();

    const isMissing = (number: bigint): boolean => number % GAP_EVERY === 0n;
    const isBad = (number: bigint): boolean => number % MALFORMED_EVERY === 0n;
    const compared = await rig.compare({ absent: (number) => isMissing(number) || isBad(number) });
    const { openGaps, unfillable, deadLetters } = await rig.check({ hashes: true, atRest: true });
    const client = await rig.client();
    const { rows } = await client.query<{ number: string; numbered: boolean }>(
      'SELECT coalesce(tick_number, after_tick + 1) AS number, tick_number IS NOT NULL AS numbered FROM dead_letters ORDER BY 1',
    );
    const letters = rows.map(({ number }) => BigInt(number));
    assert.deepEqual(letters, multiples(MALFORMED_EVERY, rig.last), 'every bad frame is kept, once');
    const unnumbered = rows.filter(({ numbered }) => !numbered).map(({ number }) => BigInt(number));
    assert.deepEqual(openGaps, unnumbered.map(single));
    assert.deepEqual(unfillable, multiples(GAP_EVERY, rig.last).map(single));
    return {
      ticks: compared.ticks,
      kills,
      'connections reset': proxy.counts.cut,
      'answers lost': proxy.lost(''),
      'streams opened': rig.starts().length,
      'gaps given up': unfillable.length,
      'gaps open': openGaps.length,
      'dead letters': Number(deadLetters),
    };
  });
}

function single(number: bigint): { first: bigint; last: bigint } {
  return { first: number, last: number };
}

function multiples(of: bigint, last: bigint): bigint[] {
  return Array.from({ length: Number(last / of) }, (_, at) => BigInt(at + 1) * of);
}
