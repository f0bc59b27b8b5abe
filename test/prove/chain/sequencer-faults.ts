import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import type { ChainSpec } from '../../support/chain/content/expected.ts';
import { withIngester, type IngestHarness } from '../../support/chain/harness.ts';
import { watched } from '../../support/chain/watch.ts';
import type { Figures, ScenarioContext } from '../harness.ts';

export interface SequencerFaultSize {
  /** it grows all the while */
  spec: ChainSpec;
  faults: number;
}

const KINDS = ['frozen', 'replaced', 'cut', 'black hole', 'slow'] as const;
type Kind = (typeof KINDS)[number];

/** found silent after so long, ms; the long faults below last longer */
const STALL_MS = 1_000;
const FAULT_MS_MAX = 2_000;
const BETWEEN_MS_MAX = 300;
/** row by row after so many, at the latest */
const COMPARE_EVERY = 10;

/**
 * The sequencer does not answer, is replaced by another process, cuts its streams, vanishes behind a black hole or gets
 * slow: the same process of the daemon goes on at the next tick each time.
 */
export async function survivesSequencerFaults(
  context: ScenarioContext,
  { spec, faults }: SequencerFaultSize,
): Promise<Figures> {
  const env = { STALL_TIMEOUT: `${STALL_MS}ms` };
  const options = { databaseUrl: await context.database(), spec, count: null, simProxied: true, env };
  return withIngester({ ...options, random: context.random }, async (harness) => {
    const daemon = harness.daemon();
    await harness.untilItGoesOn(daemon);
    const done: Record<Kind, number> = { frozen: 0, replaced: 0, cut: 0, 'black hole': 0, slow: 0 };
    const { looks } = await watched(harness, async (watch) => {
      for (let fault = 0; fault < faults; fault++) {
        await delay(context.random.whole(0, BETWEEN_MS_MAX));
        const kind = fault < KINDS.length ? KINDS[fault] : context.random.pick(KINDS);
        await strike(harness, context, kind);
        await harness.untilItGoesOn(daemon);
        assert.equal(daemon.exit, null, daemon.tail());
        watch.assertGood();
        done[kind] += 1;
        if (fault % COMPARE_EVERY === COMPARE_EVERY - 1) {
          await harness.compareNext();
          context.say(`${fault + 1} faults, position ${await harness.position()}`);
        }
      }
      return {};
    });
    await daemon.untilReady('ready');
    await harness.settle(daemon);
    const compared = await harness.verify();
    return { ticks: compared.ticks, faults, ...done, looks, 'streams opened': harness.starts().length };
  });
}

/** Strikes and heals. */
async function strike(harness: IngestHarness, { random }: ScenarioContext, kind: Kind): Promise<void> {
  const { sim } = harness;
  const proxy = sim.proxy!;
  // many are shorter than the stall watchdog's patience, and some longer
  const ms = random.whole(0, random.percent(30) ? FAULT_MS_MAX : STALL_MS / 2);
  switch (kind) {
    case 'frozen':
      sim.freeze();
      await delay(ms);
      sim.thaw();
      return;
    case 'replaced':
      await sim.replace(random.pick(['SIGKILL', 'SIGTERM']), random.whole(0, 500));
      return;
    case 'cut':
      proxy.cutAll();
      return;
    case 'black hole':
      proxy.blackHole();
      await delay(ms);
      proxy.heal();
      return;
    case 'slow':
      Object.assign(proxy.toClient, { delayMs: 20, jitterMs: 50, bytesPerSecond: 500_000 });
      await delay(ms);
      proxy.heal();
  }
}
