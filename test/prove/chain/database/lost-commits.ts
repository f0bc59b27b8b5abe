import assert from 'node:assert/strict';
import type { ChainSpec } from '../../../support/chain/content/expected.ts';
import { withIngester } from '../../../support/chain/harness.ts';
import { until } from '../../../support/until.ts';
import { watched } from '../../../support/chain/watch.ts';
import type { Figures, ScenarioContext } from '../../harness.ts';

export interface LostCommitSize {
  spec: ChainSpec;
  count: number;
  /** the answer of every n-th COMMIT is lost */
  every: number;
  /** the connection stays open and silent after a lost answer: the daemon's own watchdog has to give it up */
  silently: boolean;
  /** BATCH_SIZE and BATCH_MAX: small ones make many COMMITs */
  batchTicks: number;
}

/** Must show 4: the server commits, and its answer never arrives. Nothing may be written twice or left out. */
export async function survivesLostCommits(context: ScenarioContext, size: LostCommitSize): Promise<Figures> {
  const { spec, count, every, silently, batchTicks } = size;
  const env = { BATCH_SIZE: `${batchTicks}`, BATCH_MAX: `${batchTicks}` };
  return withIngester(
    { databaseUrl: await context.database(), spec, count, proxied: true, env },
    async (harness) => {
      const proxy = harness.proxy!;
      proxy.answers.loseEvery = every;
      proxy.answers.silently = silently;
      const daemon = harness.daemon();
      const { looks } = await watched(harness, async () => {
        await harness.untilCaughtUp(daemon);
        return {};
      });
      proxy.answers.loseEvery = 0;
      const lost = proxy.lost('writer');
      // the ticks of a lost answer are visible before the daemon has found out
      let told = -1;
      await until(
        'every lost answer is counted',
        async () => {
          told = await daemon.metric('tick_ingester_ambiguous_commits_total', { outcome: 'committed' });
          return told === lost;
        },
        { context: () => `${lost} answers were lost, ${told} ambiguous commits were told\n${daemon.tail()}` },
      );
      await daemon.stop();
      assert.ok(lost > 0, 'an answer was lost');
      const compared = await harness.verify();
      assert.equal(compared.ticks, count);
      return {
        ticks: compared.ticks,
        COMMITs: proxy.commits,
        'answers lost': `${lost} of batches, ${proxy.lost('lease') + proxy.lost('ledger')} of housekeeping`,
        'ambiguous commits told': told,
        looks,
      };
    },
  );
}
