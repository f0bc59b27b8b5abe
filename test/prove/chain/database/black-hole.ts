import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import type { Daemon } from '../../../support/chain/daemon.ts';
import type { ChainSpec } from '../../../support/chain/content/expected.ts';
import { withIngester } from '../../../support/chain/harness.ts';
import { watched } from '../../../support/chain/watch.ts';
import { mebibytes, seconds, type Figures, type ScenarioContext } from '../../harness.ts';

export interface BlackHoleSize {
  /** it grows all the while */
  spec: ChainSpec;
  /** how long each lasts, ms */
  holesMs: readonly number[];
}

const SAMPLE_MS = 200;
/** what garbage collection and a second set of connections may add to what the full ring takes */
const RSS_SLACK_BYTES = 64 * 2 ** 20;
/** RING_BYTES of the daemon, and what is parsed of it */
const BUFFER_BYTES = 32 * 2 ** 20;

/**
 * The way to the database swallows everything: connections stay open, new ones are accepted and get no answer. When it
 * ends, what was under way arrives late on some connections and never on others.
 */
export async function survivesBlackHoles(
  context: ScenarioContext,
  { spec, holesMs }: BlackHoleSize,
): Promise<Figures> {
  const env = { BUFFER_BYTES: `${BUFFER_BYTES}` };
  const options = { databaseUrl: await context.database(), spec, count: null, proxied: true, env };
  return withIngester({ ...options, random: context.random }, async (harness) => {
    const daemon = harness.daemon();
    const { pid } = daemon;
    await harness.untilItGoesOn(daemon);
    const before = daemon.rssBytes() ?? 0;
    let rssBytes = 0;
    const { looks } = await watched(harness, async () => {
      for (const holeMs of holesMs) {
        await delay(context.random.whole(0, 500));
        harness.proxy!.blackHole();
        rssBytes = Math.max(rssBytes, await aliveDuring(daemon, holeMs));
        harness.proxy!.heal();
        await harness.untilItGoesOn(daemon);
        await harness.compareNext();
        context.say(`${seconds(holeMs)}, position ${await harness.position()}`);
      }
      return {};
    });
    await daemon.untilReady('ready');
    assert.equal(daemon.pid, pid);
    assert.ok(
      rssBytes <= before + 3 * BUFFER_BYTES + RSS_SLACK_BYTES,
      `memory rose from ${mebibytes(before)} to ${mebibytes(rssBytes)}`,
    );
    const ambiguous = await daemon.metric('tick_ingester_ambiguous_commits_total');
    await harness.settle(daemon);
    // what the black hole has swallowed for ever
    harness.proxy!.cutAll();
    const compared = await harness.verify();
    return {
      ticks: compared.ticks,
      'black holes': holesMs.map(seconds).join(', '),
      looks,
      'batches of unknown outcome': ambiguous,
      memory: `${mebibytes(before)}, at most ${mebibytes(rssBytes)}`,
    };
  });
}

/** Waiting for the database is healthy, and /ready says what it waits for. Returns the highest RSS. */
async function aliveDuring(daemon: Daemon, holeMs: number): Promise<number> {
  const endMs = performance.now() + holeMs;
  await daemon.untilReady('database');
  let highest = 0;
  for (;;) {
    const rss = daemon.rssBytes();
    assert.ok(rss !== null, `the daemon lives\n${daemon.tail()}`);
    highest = Math.max(highest, rss);
    assert.equal((await daemon.get('/health'))?.code, 200, 'waiting for the database is healthy');
    if (performance.now() > endMs) return highest;
    await delay(SAMPLE_MS);
  }
}
