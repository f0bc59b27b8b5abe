import { createHash } from 'node:crypto';
import { encode } from '@msgpack/msgpack';
import type { OutgoingRecord } from '../../../src/bus/bus.ts';
import { formatMicros } from '../../../src/core/time.ts';
import type { Random } from '../random.ts';
import { MINUTE_US } from './stored.ts';

/** Feeds as they are in the world, with the rows that they must become, computed another way than the program does. */

const TRADES = 400;
const SYMBOLS = ['SPX   141122P00019500', '币安人生USDT', 'ÄÖÜ-ß', 'A'.repeat(128), 'SPY'];

/** A row of tick_data as it must become; ts in µs, seq in digits. */
export interface Expected {
  provider: string;
  symbol: string;
  us: number;
  seq: string;
  price: number;
  size: number | null;
  side: 1 | -1 | null;
}

export interface Sent {
  event: Record<string, unknown> & { symbol: string };
  row: Expected;
}

export const sha62 = (text: string): string =>
  `${BigInt(`0x${createHash('sha256').update(text).digest('hex').slice(0, 16)}`) >> 2n}`;

/** Trades of some symbols in their order, a few in each millisecond, of few prices and sizes. */
export function trades(
  random: Random,
  provider: string,
  number: (trade: { price: number; size: number; side: string }, at: number) => [object, string],
): Sent[] {
  let ms = 0;
  return Array.from({ length: TRADES }, (_, at) => {
    if (random.percent(15)) ms += random.whole(1, 80);
    const us = MINUTE_US + ms * 1000;
    const symbol = random.pick(SYMBOLS);
    const [price, size] = [random.pick([99.9, 100.1]), random.pick([0.1, 0.7])];
    const side = random.pick(['b', 'S', 'ASK', '1', '?']);
    const [identity, seq] = number({ price, size, side }, at);
    return {
      event: { provider, symbol, price, size, side, timestamp: formatMicros(BigInt(us)), ...identity },
      row: { provider, symbol, us, seq, price, size, side: sideNumber(side) },
    };
  });
}

export function sideNumber(side: string): 1 | -1 | null {
  return side === '?' ? null : side === 'b' || side === '1' ? 1 : -1;
}

/** The first of each key, and how many others there are: with the same content, with another. */
export function firsts(sent: readonly Sent[]): { rows: Expected[]; same: number; other: number } {
  const rows = new Map<string, Expected>();
  let [same, other] = [0, 0];
  for (const { row } of sent) {
    const key = [row.provider, row.symbol, row.us, row.seq].join('|');
    const first = rows.get(key);
    if (first === undefined) rows.set(key, row);
    else if (JSON.stringify(first) === JSON.stringify(row)) same += 1;
    else other += 1;
  }
  return { rows: [...rows.values()], same, other };
}

export function records(sent: readonly Sent[]): OutgoingRecord[] {
  return sent.map(({ event }, at) => {
    const isPacked = at % 2 === 1;
    const whole = { kind: 'tick', ...event };
    const data = isPacked ? encode(whole, { useBigInt64: true }) : Buffer.from(exactJson(whole));
    // the key of a foreign program: the symbol as it is sent
    return { key: event.symbol, eventId: null, data, encoding: isPacked ? 'msgpack' : 'json' };
  });
}

/** JSON with the digits of bigints. */
export function exactJson(value: unknown): string {
  return JSON.stringify(value, markedDigits).replace(/"\\u0001(-?\d+)\\u0001"/g, '$1');
}

function markedDigits(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? `\u0001${value}\u0001` : value;
}

/** Names, times and digits that feeds have, each with the row it must become. */
export function oddities(): Sent[] {
  return [
    odd(0, { symbol: 'brk b' }, { symbol: 'BRK B' }),
    odd(1, { symbol: 'äpfel', side: -1 }, { symbol: 'äPFEL', side: -1 }),
    odd(2, { symbol: 'T', size: 9007199254740993n }, { size: 9007199254740992 }),
    odd(3, { symbol: 'T', price: '1234.123456789012345678' }, { price: 1234.1234567890124 }),
    odd(4, { symbol: 'T', seq: 9007199254740993n }, { seq: '9007199254740993' }),
    odd(5, { symbol: 'T', seq: null, trade_id: '9223372036854775807' }, { seq: '9223372036854775807' }),
    odd(60, { symbol: 'T', ts: '2025-10-24T14:02:60Z' }, {}),
    odd(66, { symbol: 'T', ts: '20251024T140306Z' }, {}),
    odd(67, { symbol: 'T', ts: '2025-10-24 14:03:07 UTC' }, {}),
    odd(70, { symbol: 'kPEPE', provider: 'cased' }, { symbol: '1000PEPE', provider: 'cased' }),
    odd(71, { symbol: 'KPEPE', provider: 'cased' }, { provider: 'cased' }),
    odd(9 * 3600 + 58 * 60, { symbol: 'T', ts: '2025-10-24T24:00:00Z' }, {}),
  ];
}

/** An event of this many seconds after MINUTE_US, and its row, with what differs from the plainest ones. */
function odd(at: number, event: Record<string, unknown> & { symbol: string }, row: Partial<Expected>): Sent {
  const us = MINUTE_US + at * 1_000_000;
  return {
    event: { provider: 'odd', price: 1, size: 1, ts: formatMicros(BigInt(us)), seq: at, ...event },
    row: { provider: 'odd', us, seq: `${at}`, price: 1, size: 1, side: null, symbol: event.symbol, ...row },
  };
}
