import type { Client } from 'pg';
import type { Bar, BarRow } from '../../../src/core/market/bar.ts';
import type { LateWindow, Step } from '../../../src/core/window/step.ts';
import { reviseWindows, type Revision } from '../../../src/store/bars/revise.ts';
import { insertBars, writeRollups } from '../../../src/store/bars/rows.ts';
import type { StepFrame } from '../../../src/store/bars/step-statements.ts';
import type { BarsPolicy } from '../../../src/store/bars/commit-step.ts';
import {
  makePartitions,
  renewLeases,
  takePartition,
  type GroupName,
  type HeldPartition,
} from '../../../src/store/bus/partitions.ts';
import { TickDataWriter } from '../../../src/store/market/tick-data.ts';
import { oracleBars, partsOf, type OracleBar, type OracleTick } from './oracle.ts';

/** 2025-10-24T14:02:00Z, the start of a minute, of five minutes no */
export const MINUTE_US = 1_761_314_520_000_000;
const SECOND_US = 1_000_000;

/** `at`: seconds after MINUTE_US. */
export function tick(
  symbol: string,
  at: number,
  price: number,
  size: number | null = 1,
  seq = 0,
): OracleTick {
  return { provider: 'p', symbol, srcUs: MINUTE_US + Math.round(at * SECOND_US), seq, price, size };
}

/** Rows of bars as the micro-batcher makes them of these ticks. */
export function rowsOf(
  ticks: readonly OracleTick[],
  intervalMs: number,
  { isFinal = true, runId = 0n }: { isFinal?: boolean; runId?: bigint } = {},
): BarRow[] {
  const lengthUs = intervalMs * 1000;
  return oracleBars(ticks, intervalMs).map(
    ({ provider, symbol, ts, ticks: count, first, last, ...values }) => {
      const inside = distinct(ticks).filter(
        (each) =>
          each.provider === provider &&
          each.symbol === symbol &&
          each.srcUs >= ts &&
          each.srcUs < ts + lengthUs,
      );
      const bar: Bar = {
        ...values,
        tickCount: count,
        firstUs: first,
        lastUs: last,
        volumeParts: partsOf(inside.map(({ size }) => size ?? 0)),
        pvParts: partsOf(inside.map(({ price, size }) => price * (size ?? 0))),
      };
      const lastSeq = BigInt(Math.max(...inside.filter(({ srcUs }) => srcUs === last).map(({ seq }) => seq)));
      return {
        runId,
        provider,
        symbol,
        intervalMs,
        startUs: ts,
        bar,
        isFinal,
        lastSeq: runId === 0n ? 0n : lastSeq,
      };
    },
  );
}

function distinct(ticks: readonly OracleTick[]): OracleTick[] {
  return [
    ...new Map(
      ticks.map((each) => [`${each.provider}|${each.symbol}|${each.srcUs}|${each.seq}`, each]),
    ).values(),
  ];
}

export async function storeTicks(client: Client, ticks: readonly OracleTick[]): Promise<void> {
  await new TickDataWriter(client).write(
    ticks.map(({ provider, symbol, srcUs, seq, price, size }) => ({
      provider,
      symbol,
      srcTs: BigInt(srcUs),
      seq: BigInt(seq),
      price,
      size,
      bid: null,
      ask: null,
      side: null,
    })),
  );
}

export interface BarsWhere {
  table?: 'bars_ohlcv' | 'bars_replay' | 'bars_history';
  symbol?: string;
  interval?: string;
}

const MICROS = (column: string): string => `(extract(epoch FROM ${column}) * 1000000)::bigint`;

/** Of a table of bars what an oracle can say, by provider, symbol and time. */
export async function barsIn(
  client: Client,
  { table = 'bars_ohlcv', symbol, interval }: BarsWhere = {},
): Promise<OracleBar[]> {
  const { rows } = await client.query<
    Omit<OracleBar, 'ts' | 'ticks' | 'first' | 'last'> & Record<string, string>
  >(
    `SELECT provider, symbol, ${MICROS('ts')} AS ts, open, high, low, close, volume, vwap, tick_count AS ticks,
            ${MICROS('first_ts')} AS first, ${MICROS('last_ts')} AS last
       FROM ${table} WHERE ($1::text IS NULL OR symbol = $1) AND ($2::text IS NULL OR "interval" = $2)
      ORDER BY provider, symbol, ts${table === 'bars_history' ? ', revision' : ''}`,
    [symbol ?? null, interval ?? null],
  );
  return rows.map(
    ({ provider, symbol: name, ts, open, high, low, close, volume, vwap, ticks, first, last }) => ({
      provider,
      symbol: name,
      ts: Number(ts),
      open,
      high,
      low,
      close,
      volume,
      vwap,
      ticks: Number(ticks),
      first: Number(first),
      last: Number(last),
    }),
  );
}

/** Names and lengths (ms) of rollups. */
export const ROLLUPS = { '1m': 60_000, '5m': 300_000, '1h': 3_600_000, '1d': 86_400_000 } as const;

/** Windows and rollups of these ticks, as a step would have left them. */
export async function storeBars(
  client: Client,
  ticks: readonly OracleTick[],
  { windowMs = 2_000, isFinal = true } = {},
): Promise<void> {
  await insertBars(client, 'bars_ohlcv', rowsOf(ticks, windowMs));
  for (const length of Object.values(ROLLUPS)) {
    await writeRollups(client, 'bars_ohlcv', rowsOf(ticks, length, { isFinal }));
  }
}

export async function rollupsIn(client: Client, symbol: string): Promise<Record<string, OracleBar[]>> {
  const found: Record<string, OracleBar[]> = {};
  for (const interval of Object.keys(ROLLUPS)) found[interval] = await barsIn(client, { symbol, interval });
  return found;
}

export function oracleRollups(ticks: readonly OracleTick[]): Record<string, OracleBar[]> {
  return Object.fromEntries(
    Object.entries(ROLLUPS).map(([name, length]) => [name, oracleBars(ticks, length)]),
  );
}

/** Everything by which a write shows, also one that changes no value. */
export async function traces(client: Client, symbol?: string): Promise<Record<string, unknown>[]> {
  const { rows } = await client.query<Record<string, unknown>>(
    `SELECT 'live' AS of, provider, symbol, "interval", ts::text, 0 AS run, revision, is_final, xmin::text, ctid::text, tx::text, updated_at::text
       FROM bars_ohlcv WHERE $1::text IS NULL OR symbol = $1
     UNION ALL
     SELECT 'replay', provider, symbol, "interval", ts::text, replay_run_id::int, revision, is_final, xmin::text, ctid::text, tx::text, updated_at::text
       FROM bars_replay WHERE $1::text IS NULL OR symbol = $1
      ORDER BY 1, 2, 3, 4, 5, 6`,
    [symbol ?? null],
  );
  return rows;
}

/** A partition that `member` holds, whoever held it before. */
export async function hold(
  client: Client,
  name: GroupName,
  member = 'm',
): Promise<HeldPartition & { position: string | null }> {
  await makePartitions(client, name, 1);
  await client.query('UPDATE bus_partitions SET lease_expires_at = clock_timestamp() WHERE topic = $1', [
    name.topic,
  ]);
  const { leases } = await renewLeases(client, name, member, []);
  const taken = await takePartition(client, name, member, leases[0]);
  if (taken === null) throw new Error('nobody else was there');
  return taken;
}

/** A step with nothing in it but what is given. */
export function stepOf(position: number, parts: Partial<Step> = {}): Step {
  return {
    position: `${position}`,
    openAfter: `${position}`,
    openCount: 0,
    dropped: 0,
    windows: [],
    rollups: [],
    watermarks: [],
    late: [],
    extensions: [],
    events: 0,
    oldestIngestUs: [],
    ...parts,
  };
}

export function frameOf(name: GroupName, held: HeldPartition, number: number, log = 'log'): StepFrame {
  return { name, held, number: BigInt(number), log };
}

export function policyOf(parts: Partial<BarsPolicy> = {}): BarsPolicy {
  return { windowMs: 2_000, late: 'revise', closedEndUs: () => null, ...parts };
}

/** The window of this length that begins `at` seconds after MINUTE_US, marked by an entry at position 8. */
export function lateWindow(symbol: string, at: number, lengthMs = 2_000): LateWindow {
  const startUs = MINUTE_US + at * SECOND_US;
  return { provider: 'p', symbol, startUs, endUs: startUs + lengthMs * 1_000, position: '8' };
}

/** where the last step left the partition that is revised */
export const RESUME = { position: '9', openAfter: '9', openCount: 0 };

/** Corrects windows, each time as the next step of a partition of its own. */
export async function reviserOf(
  client: Client,
  topic: string,
  policy: Partial<BarsPolicy> = {},
): Promise<(late: readonly LateWindow[]) => Promise<Revision>> {
  const name = { topic, group: 'g' };
  const held = await hold(client, name);
  let number = 0;
  return (late) => {
    number += 1;
    return reviseWindows(client, frameOf(name, held, number), RESUME, late, policyOf(policy));
  };
}
