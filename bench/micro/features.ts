/**
 * What one warm thread needs to bring a symbol's features up to date and to look at them: `node bench/micro/features.ts [ticks]`.
 * Microseconds are of CPU time of the whole process, which other work on the machine disturbs less than the clock; the median of
 * five rounds is printed.
 */
import { featureSet } from '../../src/core/feature/catalogue.ts';
import { SymbolFeatures } from '../../src/core/feature/symbol-features.ts';
import type { FeatureTick } from '../../src/core/feature/tick.ts';
import { seededRandom } from '../../test/support/random.ts';

const ROUNDS = 5;
const WINDOW_US = 2_000_000;
const count = Number(process.argv[2] ?? 200_000);
process.env['SEED'] ??= '1';
const random = seededRandom();

function ticksAt(perSecond: number): FeatureTick[] {
  let tsUs = Date.UTC(2025, 7, 23) * 1000;
  let cents = 10_000;
  return Array.from({ length: count }, (_, at) => {
    tsUs += random.whole(0, 2_000_000 / perSecond);
    cents += random.whole(-1, 1);
    const price = cents / 100;
    return {
      tsUs,
      seq: BigInt(at),
      price,
      size: random.whole(0, 500),
      bid: price - 0.01,
      ask: price + 0.01,
      side: random.pick([1, -1] as const),
    };
  });
}

type Look = 'never' | 'at each tick' | 'at closes of 2 s';

/** µs of CPU time a tick */
function measure(ticks: readonly FeatureTick[], look: Look): number {
  const features = new SymbolFeatures(set);
  let end = -Infinity;
  const began = process.cpuUsage();
  for (const tick of ticks) {
    if (look === 'at closes of 2 s' && tick.tsUs >= end) {
      if (end > 0) features.values(end);
      end = (Math.floor(tick.tsUs / WINDOW_US) + 1) * WINDOW_US;
    }
    features.add(tick);
    if (look === 'at each tick') features.values(tick.tsUs);
  }
  const { user, system } = process.cpuUsage(began);
  return (user + system) / ticks.length;
}

function median(ticks: readonly FeatureTick[], look: Look): number {
  return Array.from({ length: ROUNDS }, () => measure(ticks, look)).sort((a, b) => a - b)[ROUNDS >> 1];
}

const set = featureSet();
for (const perSecond of [1, 10, 100, 1000]) {
  const ticks = ticksAt(perSecond);
  const add = median(ticks, 'never');
  const each = median(ticks, 'at each tick');
  const closes = median(ticks, 'at closes of 2 s');
  console.log(
    `${String(perSecond).padStart(5)} ticks/s  update ${add.toFixed(2)} us, values ${(each - add).toFixed(2)} us, tick with its share of a look at closes of 2 s ${closes.toFixed(2)} us`,
  );
}
const features = new SymbolFeatures(set);
for (const tick of ticksAt(10)) features.add(tick);
const began = process.cpuUsage();
for (let round = 0; round < 200; round += 1) features.save();
const { user, system } = process.cpuUsage(began);
console.log(`save ${((user + system) / 200).toFixed(0)} us, ${features.save().length} bytes (10 ticks/s)`);
