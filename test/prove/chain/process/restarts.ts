import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import type { ChainSpec } from '../../../support/chain/content/expected.ts';
import type { TestPostgres } from '../../../support/servers/postgres.ts';
import { withIngester } from '../../../support/chain/harness.ts';
import { watched } from '../../../support/chain/watch.ts';
import type { Figures, ScenarioContext } from '../../harness.ts';

export interface RestartSize {
  /** it grows all the while */
  spec: ChainSpec;
  restarts: number;
}

const MODES = ['fast', 'immediate'] as const;
const RUN_MS_MAX = 1_500;
const DOWN_MS_MAX = 2_000;

/**
 * The server is restarted at random moments, by ending its sessions and by a crash. What it confirmed it must keep
 * (synchronous_commit on). The same process of the daemon goes on each time.
 */
export async function survivesRestarts(
  context: ScenarioContext,
  server: TestPostgres,
  { spec, restarts }: RestartSize,
): Promise<Figures> {
  return withIngester({ databaseUrl: await context.database(), spec, count: null }, async (harness) => {
    const daemon = harness.daemon();
    await harness.untilItGoesOn(daemon);
    const done = { fast: 0, immediate: 0 };
    const { looks } = await watched(harness, async () => {
      for (let restart = 0; restart < restarts; restart++) {
        await delay(context.random.whole(0, RUN_MS_MAX));
        // each kind in turn at first
        const mode = restart < MODES.length ? MODES[restart] : context.random.pick(MODES);
        const downMs = context.random.whole(0, DOWN_MS_MAX);
        await harness.dropClient();
        await server.halt(mode);
        await delay(downMs);
        await server.start();
        await harness.untilItGoesOn(daemon);
        await harness.compareNext();
        assert.equal(daemon.exit, null, daemon.tail());
        done[mode] += 1;
        context.say(`${mode}, down for ${downMs} ms, position ${await harness.position()}`);
      }
      return {};
    });
    await daemon.untilReady('ready');
    await harness.settle(daemon);
    const compared = await harness.verify();
    return { ticks: compared.ticks, ...done, looks, 'streams opened': harness.starts().length };
  });
}
