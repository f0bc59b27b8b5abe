import assert from 'node:assert/strict';
import type { Worker } from 'node:worker_threads';
import { test } from 'tap';
import { systemClock } from '../../../src/core/time.ts';
import { ParserPool } from '../../../src/ingest/parser/pool.ts';
import { planRing, Ring } from '../../../src/ingest/ring.ts';
import type { ParseTask } from '../../../src/ingest/parser/parse.ts';
import { chainSpec, expectedTicks } from '../../support/chain/content/expected.ts';
import { until } from '../../support/until.ts';
import { wireTick } from '../../support/chain/content/wire.ts';

const [tick] = expectedTicks(chainSpec({ txs: 1 }), 1);
const TICK_BYTES_MAX = 1 << 20;

function task(): ParseTask {
  const side = new Uint8Array(wireTick(tick));
  return {
    batch: { slab: null, side, from: 0, previous: null, frames: 1, first: tick.tickNumber, ticks: 1 },
    memory: [],
    nowMicros: tick.timestamp,
    check: 'link',
    tickBytesMax: TICK_BYTES_MAX,
  };
}

/** A pool of one thread, and every thread that it starts. */
function openPool(): {
  pool: ParserPool;
  workers: Worker[];
  deaths: string[];
  onWorker: (worker: Worker) => void;
} {
  const limits = {
    bufferBytes: 8 * TICK_BYTES_MAX,
    bufferTicks: 100,
    tickBytesMax: TICK_BYTES_MAX,
    batchTicksMax: 100,
  };
  const workers: Worker[] = [];
  const deaths: string[] = [];
  const onWorker = (worker: Worker): void => {
    workers.push(worker);
  };
  process.on('worker', onWorker);
  const pool = new ParserPool(new Ring(planRing(limits)), 1, systemClock, {
    stats: () => {},
    died: (error) => deaths.push(error.message),
  });
  return { pool, workers, deaths, onWorker };
}

void test('a parser that dies is replaced, also one that dies before it was ready', async (t) => {
  const { pool, workers, deaths, onWorker } = openPool();
  t.after(async () => {
    process.off('worker', onWorker);
    await pool.stop();
  });
  assert.equal((await pool.parse(task())).ticks, 1);

  const afterDeath = workers[0].terminate();
  await until('a second thread', () => workers.length === 2);
  await afterDeath;
  // while it starts; whoever asks meanwhile waits in the queue of a pool that has no thread
  const asked = pool.parse(task()).then(
    ({ ticks }) => ticks,
    () => 'rejected' as const,
  );
  await workers[1].terminate();
  const answer = await asked;
  assert.ok(answer === 1 || answer === 'rejected', `${answer}`);
  assert.equal((await pool.parse(task())).ticks, 1, 'the pool goes on');
  assert.ok(workers.length >= 3);
  t.ok(deaths.length >= 1, 'it is told');
});
