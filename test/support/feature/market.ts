import type { FeatureTick } from '../../../src/core/feature/tick.ts';
import type { Random } from '../random.ts';

const SECOND_US = 1_000_000;
/** 2025-08-23T23:57:58Z: midnight comes soon */
const START_US = Date.UTC(2025, 7, 23, 23, 57, 58) * 1000;

/** how each symbol moves: its price after so many steps of its smallest difference */
interface Character {
  symbol: string;
  price: (steps: number) => number;
  /** steps of one tick, at most */
  stepsMax: number;
  /** so many of 100 ticks: no size, size 0, no side, no bid */
  nullSize: number;
  zeroSize: number;
  nullSide: number;
  nullQuote: number;
  /** of 1,000 ticks: an hour's rest or several, and back to another price */
  gaps: number;
}

const ORDINARY = { nullSize: 3, zeroSize: 3, nullSide: 10, nullQuote: 10, gaps: 1 };

const CHARACTERS: readonly Character[] = [
  { ...ORDINARY, symbol: 'CENTS', stepsMax: 5, price: (steps) => (10_000 + steps) / 100 },
  { ...ORDINARY, symbol: 'SMALL', stepsMax: 3, price: (steps) => Number(`${100_000 + steps}e-13`) },
  { ...ORDINARY, symbol: 'LARGE', stepsMax: 20, price: (steps) => (10_000_000_000 + steps) / 100 },
  { ...ORDINARY, symbol: 'STILL', stepsMax: 0, price: () => 42.1, gaps: 2 },
  {
    symbol: 'SPARSE',
    stepsMax: 1,
    price: (steps) => Number((0.0375 + steps * 0.0001).toFixed(4)),
    nullSize: 45,
    zeroSize: 45,
    nullSide: 90,
    nullQuote: 90,
    gaps: 4,
  },
  // from 1e-8 to 1e8 and back within a window
  {
    ...ORDINARY,
    symbol: 'WILD',
    stepsMax: 2,
    price: (steps) => Number(`${1 + (Math.abs(steps) % 9)}e${(Math.abs(steps) % 17) - 8}`),
  },
];

/**
 * Irregular ticks of several symbols, each in order: gaps of minutes to hours, many at one µs, at whole seconds, zero volume, no
 * sizes, constant prices, prices around 1e-8 and 1e8.
 */
export function feedOf(count: number, random: Random): Map<string, FeatureTick[]> {
  const each = Math.floor(count / CHARACTERS.length);
  return new Map(CHARACTERS.map((character) => [character.symbol, ticksOf(character, each, random.fork())]));
}

function ticksOf(character: Character, count: number, random: Random): FeatureTick[] {
  const { price: priceOf, stepsMax, nullSize, zeroSize, nullSide, nullQuote, gaps } = character;
  let tsUs = START_US;
  let steps = 0;
  return Array.from({ length: count }, (_, at) => {
    tsUs += wait(random, gaps);
    // some do not move for a while
    if (random.percent(60)) steps += random.whole(-stepsMax, stepsMax);
    const price = priceOf(steps);
    const half = (price * random.whole(0, 20)) / 20_000;
    const size = random.percent(nullSize) ? null : random.percent(zeroSize) ? 0 : sizeOf(random);
    return {
      tsUs,
      seq: BigInt(at),
      price,
      size,
      bid: random.percent(nullQuote) ? null : price - half,
      ask: random.percent(nullQuote) ? null : price + half,
      side: random.percent(nullSide) ? null : random.pick([1, -1] as const),
    };
  });
}

function wait(random: Random, gaps: number): number {
  if (random.next() * 1000 < gaps) return random.whole(60, 6 * 3600) * SECOND_US + random.whole(0, SECOND_US);
  if (random.percent(20)) return 0;
  if (random.percent(5)) return SECOND_US;
  return random.percent(75) ? random.whole(1, SECOND_US) : random.whole(1, 5 * SECOND_US);
}

function sizeOf(random: Random): number {
  return random.percent(50) ? random.whole(1, 500) : random.whole(1, 100_000) / 1000;
}
