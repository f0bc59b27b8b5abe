import { parseWebhookBody, type WebhookTick } from '../../../src/core/market/webhook-tick.ts';
import { formatMicros } from '../../../src/core/time.ts';

/** 2025-10-31 10:00:00 UTC */
const TEN = 1_761_904_800_000_000n;

export interface TickFields {
  symbol: string;
  ts: string;
  price: string;
  volume: string;
  source: string;
  seq: number;
}

/** The number gives a tick its symbol (of seven), its time and its digits. */
export function fieldsOf(number: number): TickFields {
  return {
    symbol: `S${number % 7}`,
    ts: formatMicros(TEN + BigInt(number) * 37_000n),
    price: `${100 + (number % 90)}.${number % 10}0`,
    volume: `0.${number}`,
    source: 'feeder',
    seq: number,
  };
}

export function tickOf(fields: Partial<TickFields>): WebhookTick {
  const found = parseWebhookBody(JSON.stringify({ ...fieldsOf(0), ...fields }));
  if (found.kind === 'refused') throw new Error(JSON.stringify(found.problems));
  return found.ticks[0];
}

/** As md_ticks has them: rows(). */
export function rowsOf(ticks: readonly TickFields[]): string[] {
  return ticks
    .map(({ source, symbol, seq, price, volume }) => [source, symbol, seq, price, volume].join('|'))
    .sort();
}
