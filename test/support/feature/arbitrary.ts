import fc from 'fast-check';
import type { FeatureTick } from '../../../src/core/feature/tick.ts';

const SECOND_US = 1_000_000;
/** 2025-08-23T23:58:20Z: midnight comes soon */
export const START_US = Date.UTC(2025, 7, 23, 23, 58, 20) * 1000;

/** times between two ticks, µs */
const wait = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.constantFrom(0, 0, 1, SECOND_US - 1, SECOND_US, 30 * SECOND_US, 60 * SECOND_US),
  },
  { weight: 12, arbitrary: fc.integer({ min: 0, max: 12 * SECOND_US }) },
  // just what is in a window, and what is not
  { weight: 2, arbitrary: fc.constantFrom(60, 300, 301, 302).map((seconds) => seconds * SECOND_US) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 5 }).map((hours) => hours * 3600 * SECOND_US + 1) },
);
const years = fc.integer({ min: 1, max: 3 }).map((count) => count * 31_557_600 * SECOND_US + 123_456);

const size = fc.oneof(
  fc.constantFrom(null, 0, 1, 100),
  fc.integer({ min: 1, max: 1000 }).map((hundredths) => hundredths / 100),
  fc.constantFrom(1e-8, 1e9),
);
const side = fc.constantFrom(1 as const, -1 as const, null);
/** of prices, in units of the scale */
const step = fc.oneof(
  { weight: 3, arbitrary: fc.constant(0) },
  { weight: 5, arbitrary: fc.integer({ min: -40, max: 40 }) },
);

/** the price of a tick, by the scale of all */
const scale = fc.constantFrom(1e-8, 0.01, 1, 100, 100, 12_345.67, 1e8);

export interface TickOptions {
  maxLength?: number;
  /** prices at and below zero, too */
  isWild?: boolean;
}

/** Ticks in order, with all that a feed may bring. */
export function ticksOf({ maxLength = 60, isWild = false }: TickOptions = {}): fc.Arbitrary<FeatureTick[]> {
  const one = fc.record({
    wait: fc.oneof({ weight: 60, arbitrary: wait }, { weight: 1, arbitrary: years }),
    step,
    size,
    side,
    quote: fc.integer({ min: -1, max: 3 }),
    wild: fc.integer({ min: 0, max: 9 }),
  });
  return fc.tuple(scale, fc.array(one, { minLength: 1, maxLength, size: 'max' })).map(([unit, draws]) => {
    let tsUs = START_US;
    let steps = 10_000;
    return draws.map((draw, at) => {
      tsUs += draw.wait;
      steps += draw.step;
      // a decimal, as feeds have them
      let price = Number((unit * (steps / 10_000)).toPrecision(12));
      if (isWild && draw.wild === 0) price = 0;
      if (isWild && draw.wild === 1) price = -price;
      const half = (Math.abs(price) * draw.quote) / 10_000;
      return {
        tsUs,
        seq: BigInt(at),
        price,
        size: draw.size,
        bid: draw.quote < 0 ? null : price - half,
        ask: draw.quote === 0 ? null : price + half,
        side: draw.side,
      };
    });
  });
}
