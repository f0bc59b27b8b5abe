import { RangeSet } from '../../../core/ingest/ranges.ts';
import { LiveIdError } from '../source.ts';

/** Where a subscription to the chain is. */
export interface ChainPlace {
  /** the first number that is not passed */
  next: bigint;
  /** numbers below it that were not stored when they were passed, the newest ones */
  holes: RangeSet;
}

const PLACE = 'c1p';
/** holes that an id holds: of older ones what comes later is not told to who comes back with it */
const HOLES_MAX = 64;
const NUMBER = /^\d{1,19}$/;
const INT64_END = 2n ** 63n;

export function chainId({ next, holes }: ChainPlace): string {
  const kept = holes.list().slice(-HOLES_MAX);
  return `${PLACE}~${next}~${kept.map(({ first, last }) => `${first}-${last}`).join('.')}`;
}

/** @throws LiveIdError */
export function parseChainId(id: string): ChainPlace {
  const [kind, first, second, ...more] = id.split('~');
  if (kind !== PLACE || second === undefined || more.length > 0)
    throw new LiveIdError('this is no id of the topic chain');
  const ranges = second === '' ? [] : second.split('.');
  if (ranges.length > HOLES_MAX) throw new LiveIdError('the id names too many numbers');
  return { next: numberIn(first), holes: new RangeSet(ranges.map(rangeIn)) };
}

function rangeIn(text: string): { first: bigint; last: bigint } {
  const [first, last, ...more] = text.split('-');
  const range = { first: numberIn(first), last: numberIn(last) };
  if (more.length > 0 || range.last < range.first) throw new LiveIdError('the id holds no range');
  return range;
}

function numberIn(text: string | undefined): bigint {
  const number = text !== undefined && NUMBER.test(text) ? BigInt(text) : INT64_END;
  if (number >= INT64_END) throw new LiveIdError('the id holds no number of a tick');
  return number;
}
