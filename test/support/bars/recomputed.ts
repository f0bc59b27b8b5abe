import assert from 'node:assert/strict';
import type { Client } from 'pg';
import { exactly, rounded } from './oracle.ts';

/** Lengths of the rollups, µs. */
const ROLLUPS_US = { '1m': 60e6, '5m': 300e6, '1h': 3_600e6, '1d': 86_400e6 } as const;
const PAGE = 50_000;
const SHOWN = 5;
const MICROS = (column: string): string => `(extract(epoch FROM ${column}) * 1000000)::bigint`;

export interface RecomputedOptions {
  windowMs?: number;
  /** ticks that were stored and, by the policy, are in no bar (too_late): bars that would hold one are left out */
  turnedAway?: readonly { provider: string; symbol: string; srcUs: number }[];
}

interface Tick {
  us: string;
  seq: string;
  price: number;
  size: number | null;
}

/** The ticks of one window or rollup so far; sums in units of 2^-1074, so that they are exact. */
interface Span {
  startUs: number;
  values: {
    open: number;
    high: number;
    low: number;
    close: number;
    ticks: number;
    first: number;
    last: number;
  };
  volume: bigint;
  /** null: a product was beyond the range of a double */
  worth: bigint | null;
}

interface FinalBar {
  interval: string;
  ts: string;
  values: Record<string, number | null>;
  of_bars: boolean;
}

/**
 * Every final bar equals its recomputation from tick_data, by an arithmetic of its own: what the policy `revise` promises once
 * nothing waits to be corrected. Bars of bar events, which no tick makes, are left out. Returns how many were compared.
 * @throws AssertionError with the first that differ
 */
export async function assertRecomputed(client: Client, options: RecomputedOptions = {}): Promise<number> {
  const { windowMs = 2_000, turnedAway = [] } = options;
  const name = windowMs % 1_000 === 0 ? `${windowMs / 1_000}s` : `${windowMs}ms`;
  const lengths = new Map<string, number>([[windowMs === 60_000 ? '1m' : name, windowMs * 1_000]]);
  for (const [interval, us] of Object.entries(ROLLUPS_US)) lengths.set(interval, us);
  const { rows: series } = await client.query<{ provider: string; symbol: string }>(
    'SELECT DISTINCT provider, symbol FROM bars_ohlcv WHERE is_final ORDER BY 1, 2',
  );
  const wrong: string[] = [];
  let compared = 0;
  for (const { provider, symbol } of series) {
    const away = turnedAway.filter((tick) => tick.provider === provider && tick.symbol === symbol);
    const expected = await recompute(client, provider, symbol, lengths);
    for (const { interval, ts, values, of_bars: isOfBars } of await finalBars(client, provider, symbol)) {
      const length = lengths.get(interval);
      const startUs = Number(ts);
      if (length === undefined || isOfBars) continue;
      if (away.some(({ srcUs }) => srcUs >= startUs && srcUs < startUs + length)) continue;
      compared += 1;
      const span = expected.get(`${interval}|${startUs}`) ?? null;
      const difference = differenceOf(values, span);
      if (difference !== null) wrong.push(`${provider}|${symbol}|${interval}|${startUs}: ${difference}`);
    }
  }
  const shown = wrong.slice(0, SHOWN).join('\n');
  assert.equal(
    wrong.length,
    0,
    `${wrong.length} of ${compared} final bars are not what tick_data makes\n${shown}`,
  );
  return compared;
}

async function finalBars(client: Client, provider: string, symbol: string): Promise<FinalBar[]> {
  const { rows } = await client.query<Omit<FinalBar, 'values'> & Record<string, number | string | null>>(
    `SELECT "interval", ${MICROS('ts')} AS ts, tick_count = 0 OR pv_parts IS NULL AS of_bars, open, high, low, close, volume,
            vwap, tick_count AS ticks, ${MICROS('first_ts')} AS first, ${MICROS('last_ts')} AS last
       FROM bars_ohlcv WHERE is_final AND provider = $1 AND symbol = $2`,
    [provider, symbol],
  );
  return rows.map(({ interval, ts, of_bars, ...values }) => ({
    interval,
    ts,
    of_bars,
    values: Object.fromEntries(
      Object.entries(values).map(([key, value]) => [key, value === null ? null : Number(value)]),
    ),
  }));
}

function differenceOf(found: FinalBar['values'], span: Span | null): string | null {
  if (span === null) return `tick_data has none of its ${found['ticks']} ticks`;
  const volume = rounded(span.volume);
  const worth = span.worth === null ? Infinity : rounded(span.worth);
  const vwap = volume > 0 && Number.isFinite(volume) ? worth / volume : null;
  const expected: FinalBar['values'] = {
    ...span.values,
    volume,
    vwap: vwap !== null && Number.isFinite(vwap) ? vwap : null,
  };
  const differing = Object.entries(expected).filter(([key, value]) => found[key] !== value);
  if (differing.length === 0) return null;
  return differing.map(([key, value]) => `${key} is ${found[key]}, expected ${value}`).join(', ');
}

/** Of one series every window and rollup, by interval and start. */
async function recompute(
  client: Client,
  provider: string,
  symbol: string,
  lengths: ReadonlyMap<string, number>,
): Promise<Map<string, Span>> {
  const spans = new Map<string, Span>();
  const [[base, baseUs], ...rollups] = lengths;
  let window: Span | null = null;
  const close = (): void => {
    if (window === null) return;
    spans.set(`${base}|${window.startUs}`, window);
    for (const [interval, us] of rollups) {
      const startUs = window.startUs - (window.startUs % us);
      const key = `${interval}|${startUs}`;
      spans.set(key, merged(spans.get(key) ?? null, window, startUs));
    }
  };
  for await (const tick of ticksOf(client, provider, symbol)) {
    const us = Number(tick.us);
    const startUs = us - (us % baseUs);
    if (window?.startUs !== startUs) {
      close();
      window = null;
    }
    window = merged(window, spanOf(tick, startUs), startUs);
  }
  close();
  return spans;
}

function spanOf({ us, price, size }: Tick, startUs: number): Span {
  const at = Number(us);
  const product = price * (size ?? 0);
  return {
    startUs,
    values: { open: price, high: price, low: price, close: price, ticks: 1, first: at, last: at },
    volume: exactly(size ?? 0),
    worth: Number.isFinite(product) ? exactly(product) : null,
  };
}

/** @param later comes behind `before` */
function merged(before: Span | null, later: Span, startUs: number): Span {
  if (before === null) return { ...later, startUs };
  const { values: a } = before;
  const { values: b } = later;
  return {
    startUs,
    values: {
      open: a.open,
      high: Math.max(a.high, b.high),
      low: Math.min(a.low, b.low),
      close: b.close,
      ticks: a.ticks + b.ticks,
      first: a.first,
      last: b.last,
    },
    volume: before.volume + later.volume,
    worth: before.worth === null || later.worth === null ? null : before.worth + later.worth,
  };
}

async function* ticksOf(client: Client, provider: string, symbol: string): AsyncGenerator<Tick> {
  let after: Pick<Tick, 'us' | 'seq'> = { us: '0', seq: '-1' };
  for (;;) {
    const { rows } = await client.query<Tick>(
      `SELECT ${MICROS('ts')} AS us, seq, price, size FROM tick_data
        WHERE provider = $1 AND symbol = $2 AND (ts, seq) > (timestamptz 'epoch' + $3::bigint * interval '1 microsecond', $4::bigint)
        ORDER BY ts, seq LIMIT ${PAGE}`,
      [provider, symbol, after.us, after.seq],
    );
    yield* rows;
    const last = rows.at(-1);
    if (last === undefined || rows.length < PAGE) return;
    after = last;
  }
}
