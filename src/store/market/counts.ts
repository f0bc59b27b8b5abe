import type { Client } from 'pg';

/** Counts of market ticks and of their sources. */
export interface MarketCounts {
  /** events that producers other than the chain's have put on the bus, by their runs in job_runs */
  produced: number;
  /** of those, in tick_data */
  producedStored: number;
  /** transactions of the chain that are orders */
  orders: number;
  /** of those, in tick_data */
  ordersStored: number;
  /** ticks that the bars of the shortest windows hold */
  inBars: number;
  /** bars, coarser ones included */
  bars: number;
  /** times of ticks: of one symbol, distinct */
  tickTimes: number;
  /** signals vwap_deviation_bps: one for each of those times */
  deviations: number;
  /** all signals, and those of rules */
  signals: number;
  ruleSignals: number;
  /** records of mdp.events.dlq; only for the postgres bus */
  deadLetters: number;
}

/**
 * Exact counts; slow on a large store.
 * @param interval of the windows: 2s
 */
export async function countMarket(client: Client, interval: string): Promise<MarketCounts> {
  const { rows } = await client.query<Record<string, string>>(
    `SELECT (SELECT coalesce(sum(rows_written), 0) FROM job_runs WHERE job_name = 'produce' AND provider <> 'continuum') AS produced,
       (SELECT count(*) FROM tick_data WHERE provider <> 'continuum') AS produced_stored,
       (SELECT count(*) FROM tick_transactions WHERE substring(payload FROM 1 FOR 9) = 'FRM_v1.0:'::bytea) AS orders,
       (SELECT count(*) FROM tick_data WHERE provider = 'continuum') AS orders_stored,
       (SELECT coalesce(sum(tick_count), 0) FROM bars_ohlcv WHERE "interval" = $1) AS in_bars,
       (SELECT count(*) FROM bars_ohlcv) AS bars,
       (SELECT count(*) FROM (SELECT DISTINCT provider, symbol, ts FROM tick_data) AS t) AS tick_times,
       (SELECT count(*) FROM signals WHERE name = 'vwap_deviation_bps') AS deviations,
       (SELECT count(*) FROM signals) AS signals,
       (SELECT count(*) FROM signals WHERE score IS NOT NULL) AS rule_signals,
       (SELECT coalesce(sum(next_offset), 0) FROM bus_logs WHERE topic = 'mdp.events.dlq') AS dead`,
    [interval],
  );
  const row = rows[0] ?? {};
  return {
    produced: Number(row['produced']),
    producedStored: Number(row['produced_stored']),
    orders: Number(row['orders']),
    ordersStored: Number(row['orders_stored']),
    inBars: Number(row['in_bars']),
    bars: Number(row['bars']),
    tickTimes: Number(row['tick_times']),
    deviations: Number(row['deviations']),
    signals: Number(row['signals']),
    ruleSignals: Number(row['rule_signals']),
    deadLetters: Number(row['dead']),
  };
}
