import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import type { ChainSpec } from '../../../support/chain/content/expected.ts';
import { withIngester } from '../../../support/chain/harness.ts';
import { watched } from '../../../support/chain/watch.ts';
import { seconds, type Figures, type ScenarioContext } from '../../harness.ts';

export interface TerminationSize {
  /** it grows all the while */
  spec: ChainSpec;
  forMs: number;
}

const EVERY_MS = 1_000;

/** Every session of the daemon is ended every second, the one with its lease included. */
export async function survivesTerminations(
  context: ScenarioContext,
  { spec, forMs }: TerminationSize,
): Promise<Figures> {
  return withIngester({ databaseUrl: await context.database(), spec, count: null }, async (harness) => {
    const daemon = harness.daemon();
    await harness.untilItGoesOn(daemon);
    const { ended, rounds, written, looks } = await watched(harness, async () => {
      const client = await harness.client();
      const before = daemon.ticksWritten;
      let ended = 0;
      let rounds = 0;
      for (const endMs = performance.now() + forMs; performance.now() < endMs; rounds++) {
        const { rows } = await client.query(
          `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND starts_with(application_name, 'tick-ingester ')`,
        );
        ended += rows.length;
        await delay(EVERY_MS);
      }
      const written = daemon.ticksWritten - before;
      await harness.untilItGoesOn(daemon);
      return { ended, rounds, written };
    });
    assert.equal(daemon.exit, null, daemon.tail());
    assert.ok(ended >= rounds, `${ended} sessions in ${rounds} rounds`);
    await daemon.untilReady('ready');
    await harness.settle(daemon);
    const compared = await harness.verify();
    return {
      ticks: compared.ticks,
      'sessions ended': `${ended} in ${seconds(forMs)}`,
      'ticks written meanwhile': written,
      looks,
    };
  });
}
