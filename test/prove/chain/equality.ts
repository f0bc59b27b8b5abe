import assert from 'node:assert/strict';
import type { ChainSpec } from '../../support/chain/content/expected.ts';
import { sessionsGone } from '../../support/chain/daemon.ts';
import { withIngester } from '../../support/chain/harness.ts';
import type { Figures, ScenarioContext } from '../harness.ts';

export interface EqualitySize {
  spec: ChainSpec;
  count: number;
}

/** at the store while the daemon writes, spread over the chain */
const LOOKS = 8;

/** Must show 3: a whole chain, ingested at full speed, row by row against its recomputation. */
export async function ingestsEqually(
  context: ScenarioContext,
  { spec, count }: EqualitySize,
): Promise<Figures> {
  return withIngester({ databaseUrl: await context.database(), spec, count }, async (harness) => {
    const daemon = harness.daemon();
    await daemon.logged('Opening tick stream');
    const beganMs = performance.now();
    // what is visible is whole at every moment, not only at the end
    let looks = 0;
    for (let share = 1; share <= LOOKS; share++) {
      await harness.untilPosition(spec.first + BigInt(Math.floor((count * share) / LOOKS)) - 1n, daemon);
      if (share === LOOKS) break;
      await harness.check();
      looks += 1;
    }
    const ingestSeconds = (performance.now() - beganMs) / 1000;
    await daemon.untilMetric('tick_ingester_ticks_total', { status: 'success' }, count);
    await daemon.stop();
    const compared = await harness.verify();
    assert.equal(compared.ticks, count);
    await sessionsGone(await harness.client());
    return {
      ticks: compared.ticks,
      transactions: compared.transactions,
      'ticks/s (with the looks)': Math.round(count / ingestSeconds),
      'looks while it wrote': looks,
      'ticks/s compared': Math.round(compared.ticks / compared.seconds),
    };
  });
}
