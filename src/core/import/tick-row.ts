import type { TickDataRow } from '../copy/tick-data.ts';
import { amount, finiteNumber, providerName, wholeNumber } from '../market/codec/field.ts';
import { isEventTime } from '../market/event-time.ts';
import { rulesOf, symbolOf, type Providers } from '../market/identity/providers.ts';
import { refuse, shown, type Refusal } from '../market/refusal.ts';
import { sideOf } from '../market/side.ts';
import { parseIsoMicros } from '../time.ts';

/** Columns of a file that are read; created_at is the table's own. */
export const IMPORT_COLUMNS = [
  'provider',
  'symbol',
  'price',
  'ts',
  'size',
  'bid',
  'ask',
  'side',
  'seq',
] as const;
export type ImportColumn = (typeof IMPORT_COLUMNS)[number];

/** What a row says: texts of CSV, or the values of Parquet (times as µs since 1970, bigint). Absent, null and '' are the same. */
export type ImportValues = Readonly<Partial<Record<ImportColumn, unknown>>>;

export interface BadValue {
  column: ImportColumn;
  cause: string;
}

/** A row of tick_data as mdp export writes it, or what is wrong with the first bad column. */
export function tickRowOf(values: ImportValues, providers: Providers): TickDataRow | BadValue {
  const given = (column: ImportColumn): unknown => (values[column] === '' ? null : (values[column] ?? null));
  const provider = providerName(given('provider'));
  if (typeof provider !== 'string') return bad('provider', provider);
  const symbol = symbolOf(given('symbol'), rulesOf(providers, provider));
  if (typeof symbol !== 'string') return bad('symbol', symbol);
  const srcTs = timeOf(given('ts'));
  if (typeof srcTs !== 'bigint') return bad('ts', srcTs);
  const price =
    given('price') === null
      ? refuse('missing_price', 'no price')
      : finiteNumber(given('price'), 'price', 'bad_price');
  if (typeof price !== 'number') return bad('price', price);
  const size = given('size') === null ? null : amount(given('size'), 'size', 'bad_size');
  if (isRefusal(size)) return bad('size', size);
  const bid = given('bid') === null ? null : finiteNumber(given('bid'), 'bid', 'bad_number');
  if (isRefusal(bid)) return bad('bid', bid);
  const ask = given('ask') === null ? null : finiteNumber(given('ask'), 'ask', 'bad_number');
  if (isRefusal(ask)) return bad('ask', ask);
  const side = given('side') === null ? null : sideOf(wholeText(given('side')));
  if (side === null && given('side') !== null)
    return bad('side', refuse('bad_side', `side is ${shown(given('side'))}; known are 1, -1, buy and sell`));
  const seq = given('seq') === null ? 0n : wholeNumber(wholeText(given('seq')), 'seq', 'bad_seq');
  if (typeof seq !== 'bigint') return bad('seq', seq);
  return { provider, symbol, srcTs, seq, price, size, bid, ask, side };
}

function bad(column: ImportColumn, { detail }: Refusal): BadValue {
  return { column, cause: detail };
}

function timeOf(value: unknown): bigint | Refusal {
  if (value === null) return refuse('missing_time', 'no ts');
  let micros: bigint;
  try {
    if (typeof value !== 'bigint' && typeof value !== 'string')
      return refuse('bad_time', `ts is ${shown(value)} and no time`);
    micros = typeof value === 'bigint' ? value : parseIsoMicros(value);
  } catch (error) {
    return refuse('bad_time', `ts ${shown(value)} is ${(error as Error).message}`);
  }
  return isEventTime(micros)
    ? micros
    : refuse('time_out_of_range', `ts ${shown(value)} is outside of 2000 to 2099`);
}

/** pandas writes a whole number as 1.0 in a column with empty cells, and reads it as a double. */
function wholeText(value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString();
  return typeof value === 'string' ? value.replace(/^(-?\d+)\.0+$/, '$1') : value;
}

function isRefusal(value: number | null | Refusal): value is Refusal {
  return typeof value === 'object' && value !== null;
}
