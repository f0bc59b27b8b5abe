import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import type { ChainSpec } from '../../../support/chain/content/expected.ts';
import { withIngester } from '../../../support/chain/harness.ts';
import type { Figures, ScenarioContext } from '../../harness.ts';

export interface ThreadSize {
  spec: ChainSpec;
  count: number;
  deaths: number;
}

const THREADS = ['reader', 'parser', 'writer'] as const;

/** A thread ends by itself, as after an exhausted heap: its work is done again by the next one, nothing is lost. */
export async function survivesThreadDeaths(
  context: ScenarioContext,
  { spec, count, deaths }: ThreadSize,
): Promise<Figures> {
  return withIngester({ databaseUrl: await context.database(), spec, count }, async (harness) => {
    const daemon = harness.daemon({ killableThreads: true });
    const { pid } = daemon;
    const killed: Record<string, number> = { reader: 0, parser: 0, writer: 0 };
    for (let death = 0; death < deaths; death++) {
      // each kind in turn at least, at a random moment of what is left
      const kind = death < THREADS.length ? THREADS[death] : context.random.pick(THREADS);
      const left = count - daemon.ticksWritten;
      const target =
        daemon.ticksWritten + context.random.whole(1, Math.max(1, Math.floor(left / (deaths - death + 1))));
      await harness.untilWritten(target, daemon);
      await delay(context.random.whole(0, 20));
      const thread = kind === 'writer' ? `writer-${context.random.whole(0, 1)}` : kind;
      daemon.killThread(thread);
      killed[kind] += 1;
      context.say(`${thread} after ${target} ticks`);
    }
    await harness.untilCaughtUp(daemon);
    await daemon.untilReady('ready');
    assert.equal(daemon.pid, pid);
    const told = daemon.lines('A worker thread died and is replaced').length;
    assert.ok(told >= 1, 'it says so');
    assert.equal((await daemon.get('/health'))?.code, 200);
    await daemon.stop();
    const compared = await harness.verify();
    assert.equal(compared.ticks, count);
    return { ticks: compared.ticks, ...killed };
  });
}
