import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { sessionsGone } from '../../../support/chain/daemon.ts';
import type { ChainSpec } from '../../../support/chain/content/expected.ts';
import type { IngestHarness } from '../../../support/chain/harness.ts';
import { withIngester } from '../../../support/chain/harness.ts';
import { watched } from '../../../support/chain/watch.ts';
import type { Figures, ScenarioContext } from '../../harness.ts';

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
export async function survivesKills(context: ScenarioContext, size: KillSize): Promise<Figures> {
  const { spec, count, kills } = size;
  return withIngester({ databaseUrl: await context.database(), spec, count }, async (harness) => {
    let position: bigint | null = null;
    const { early, looks } = await watched(harness, async () => {
      let early = 0;
      for (let kill = 0; kill < kills; kill++) {
        const isEarly = kill > 0 && context.random.whole(1, EARLY_ONE_IN) === 1;
        if (isEarly) early += 1;
        const before = harness.starts().length;
        const left = harness.last - (position ?? spec.first - 1n);
        const moment = await killOnce(harness, context, { isEarly, left: Number(left), kills: kills - kill });
        assertStarts(harness, before, position);
        await sessionsGone(await harness.client());
        position = await harness.position();
        await harness.look();
        await harness.compareNext();
        context.say(`kill ${kill + 1}: ${moment}, position ${position}`);
      }
      return { early };
    });
    const before = harness.starts().length;
    const daemon = harness.daemon();
    await harness.untilCaughtUp(daemon);
    // a kill near the end may have left nothing to do
    await daemon.untilReady('ready');
    assertStarts(harness, before, position);
    await daemon.stop();
    const compared = await harness.verify();
    assert.equal(compared.ticks, count);
    const beginnings = harness.starts().filter((start) => start === spec.first).length;
    return {
      ticks: compared.ticks,
      transactions: compared.transactions,
      kills,
      'of them before it wrote': early,
      looks,
      'streams opened': harness.starts().length,
      'at the beginning': beginnings,
    };
  });
}

/** @param moment `left`: ticks that are not yet recorded; `kills`: how many more there will be, this one included */
async function killOnce(
  harness: IngestHarness,
  { random }: ScenarioContext,
  { isEarly, left, kills }: { isEarly: boolean; left: number; kills: number },
): Promise<string> {
  const daemon = harness.daemon();
  if (isEarly) {
    const ms = random.whole(0, EARLY_MS_MAX);
    await delay(ms);
    daemon.kill('SIGKILL');
    await daemon.exited;
    return `${ms} ms after its start`;
  }
  // most of what is left stays for the later ones, whatever the numbers drawn
  const ticks = random.whole(Math.min(1, left), Math.floor((left * 0.8) / kills));
  await harness.untilWritten(ticks, daemon);
  const jitterMs = random.whole(0, JITTER_MS_MAX);
  await delay(jitterMs);
  daemon.kill('SIGKILL');
  await daemon.exited;
  return `${jitterMs} ms after ${ticks} ticks, when it had logged ${daemon.ticksWritten}`;
}

/** What was asked since: once at most, right after what the database had; at the beginning while it had nothing. */
function assertStarts(harness: IngestHarness, before: number, position: bigint | null): void {
  const starts = harness.starts().slice(before);
  const expected = position === null ? harness.spec.first : position + 1n;
  assert.ok(starts.length <= 1, `streams of one daemon: ${starts.join(', ')}`);
  for (const start of starts) assert.equal(start, expected, 'a start asks for position + 1');
}
