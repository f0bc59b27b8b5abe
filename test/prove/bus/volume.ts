import assert from 'node:assert/strict';
import { barsEqualTickData } from './bars.ts';
import { burst, BusHarness, type BusName } from './harness.ts';
import { mebibytes, type Figures, type ScenarioContext } from '../harness.ts';

export interface VolumeSize {
  /** events that lie on the bus before the first consumer starts, for one consumer and again for two */
  prefilled: number;
  /** events published while two consumers run */
  live: number;
}

const BARS_MAX = 1_000_000;
/**
 * What a consumer may take at most, however much goes through it: two batches are 20 MiB of it, and what V8 lets lie before
 * it collects is the rest (300–400 MiB in all on a machine where it may have 4 GiB).
 */
const MEMORY_BYTES_MAX = 600 * 2 ** 20;

/**
 * Must show 2: made-up events through a bus into tick_data, first a backlog for one consumer, then one for two, then with
 * the producer beside them. The table equals the generator's set, nothing is twice, nothing is left on the bus.
 */
export function carriesVolume(context: ScenarioContext, name: BusName, size: VolumeSize): Promise<Figures> {
  return BusHarness.with(name, context, async (harness) => {
    const { prefilled, live } = size;
    await harness.produced(harness.producer(burst(0, prefilled)));
    const first = harness.consumer('tick-1');
    const one = await rate(harness, prefilled, prefilled, [first]);
    context.say(`${name}: one consumer ${one} ticks/s`);
    assert.equal(await first.stop(), 0, first.tail);

    await harness.produced(harness.producer(burst(1, prefilled)));
    const pair = [harness.consumer('tick-1'), harness.consumer('tick-2')];
    const two = await rate(harness, prefilled, 2 * prefilled, pair);
    context.say(`${name}: two consumers ${two} ticks/s`);

    const beganMs = performance.now();
    const producer = harness.producer(burst(2, live));
    await harness.produced(producer);
    await harness.untilStored(2 * prefilled + live, ...pair);
    const beside = Math.round(live / ((performance.now() - beganMs) / 1000));
    await harness.untilSettled();
    const peak = Math.max(...[first, ...pair].map((consumer) => consumer.peakBytes()));
    assert.ok(peak <= MEMORY_BYTES_MAX, `a consumer took ${mebibytes(peak)}`);
    for (const consumer of pair) assert.equal(await consumer.stop(), 0, consumer.tail);
    const ticks = await harness.compare([burst(0, prefilled), burst(1, prefilled), burst(2, live)]);
    assert.equal((await harness.deadLetters()).size, 0);
    // of more, the bus has trimmed what a group that comes now would need
    const bars = ticks <= BARS_MAX ? await barsEqualTickData(harness) : '-';
    return {
      ticks,
      'final bars equal to tick_data': bars,
      'one consumer': `${one} ticks/s`,
      'two consumers': `${two} ticks/s`,
      'two, producer beside them': `${beside} ticks/s`,
      'batch write p50': `${quantile(harness.writesMs, 0.5)} ms`,
      p99: `${quantile(harness.writesMs, 0.99)} ms`,
      'memory of a consumer at most': mebibytes(peak),
    };
  });
}

/** Ticks a second from the first one stored to the last: the start of a program is not its speed. */
async function rate(
  harness: BusHarness,
  count: number,
  total: number,
  consumers: Parameters<BusHarness['untilStored']>[1][],
): Promise<number> {
  const before = total - count;
  await harness.untilStored(before + 1, ...consumers);
  const beganMs = performance.now();
  const already = (await harness.stored()) - before;
  await harness.untilStored(total, ...consumers);
  return Math.round((count - already) / ((performance.now() - beganMs) / 1000));
}

function quantile(values: readonly number[], share: number): string {
  const sorted = values.toSorted((a, b) => a - b);
  return (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0).toFixed(1);
}
