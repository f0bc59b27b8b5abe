import assert from 'node:assert/strict';
import { burst, BusRig, type BusName } from './harness.ts';
import { mebibytes, type Figures, type Scene } from '../harness.ts';

export interface VolumeSize {
  /** events that lie on the bus before the first consumer starts, for one consumer and again for two */
  prefilled: number;
  /** events published while two consumers run */
  live: number;
}

/**
 * What a consumer may take at most, however much goes through it: two batches are 20 MiB of it, and what V8 lets lie before
 * it collects is the rest (300–400 MiB in all on a machine where it may have 4 GiB).
 */
const MEMORY_BYTES_MAX = 600 * 2 ** 20;

/**
 * Must show 2: made-up events through a bus into tick_data, first a backlog for one consumer, then one for two, then with
 * the producer beside them. The table equals the generator's set, nothing is twice, nothing is left on the bus.
 */
export function carriesVolume(scene: Scene, name: BusName, size: VolumeSize): Promise<Figures> {
  return BusRig.with(name, scene, async (rig) => {
    const { prefilled, live } = size;
    await rig.produced(rig.producer(burst(0, prefilled)));
    const first = rig.consumer('tick-1');
    const one = await rate(rig, prefilled, prefilled, [first]);
    scene.say(`${name}: one consumer ${one} ticks/s`);
    assert.equal(await first.stop(), 0, first.tail);

    await rig.produced(rig.producer(burst(1, prefilled)));
    const pair = [rig.consumer('tick-1'), rig.consumer('tick-2')];
    const two = await rate(rig, prefilled, 2 * prefilled, pair);
    scene.say(`${name}: two consumers ${two} ticks/s`);

    const beganMs = performance.now();
    const producer = rig.producer(burst(2, live));
    await rig.produced(producer);
    await rig.untilStored(2 * prefilled + live, ...pair);
    const beside = Math.round(live / ((performance.now() - beganMs) / 1000));
    await rig.untilSettled();
    const peak = Math.max(...[first, ...pair].map((consumer) => consumer.peakBytes()));
    assert.ok(peak <= MEMORY_BYTES_MAX, `a consumer took ${mebibytes(peak)}`);
    for (const consumer of pair) assert.equal(await consumer.stop(), 0, consumer.tail);
    const ticks = await rig.compare([burst(0, prefilled), burst(1, prefilled), burst(2, live)]);
    assert.equal((await rig.deadLetters()).size, 0);
    return {
      ticks,
      'one consumer': `${one} ticks/s`,
      'two consumers': `${two} ticks/s`,
      'two, producer beside them': `${beside} ticks/s`,
      'batch write p50': `${quantile(rig.writesMs, 0.5)} ms`,
      p99: `${quantile(rig.writesMs, 0.99)} ms`,
      'memory of a consumer at most': mebibytes(peak),
    };
  });
}

/** Ticks a second from the first one stored to the last: the start of a program is not its speed. */
async function rate(
  rig: BusRig,
  count: number,
  total: number,
  consumers: Parameters<BusRig['untilStored']>[1][],
): Promise<number> {
  const before = total - count;
  await rig.untilStored(before + 1, ...consumers);
  const beganMs = performance.now();
  const already = (await rig.stored()) - before;
  await rig.untilStored(total, ...consumers);
  return Math.round((count - already) / ((performance.now() - beganMs) / 1000));
}

function quantile(values: readonly number[], share: number): string {
  const sorted = values.toSorted((a, b) => a - b);
  return (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0).toFixed(1);
}
