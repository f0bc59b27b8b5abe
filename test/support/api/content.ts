/** 2025-10-31T10:00:00Z */
const TEN = "timestamptz '2025-10-31 10:00:00+00'";
/** a symbol that needs quotes everywhere */
export const ODD = 'Ä "B,C"/D';

/** A few rows of every table, with what is hard to carry: µs, int64 above 2^53, nulls, quotes, letters of any script. */
export const CONTENT = [
  `INSERT INTO tick_data (provider, symbol, ts, seq, price, size, bid, ask, side)
   SELECT p, 'BTC', ${TEN} + n / 2 * interval '1 microsecond', 9007199254740993 + n, 100 + n / 8.0,
          CASE WHEN n % 3 > 0 THEN n END, CASE WHEN n % 2 > 0 THEN 0.1 END, NULL, CASE n % 3 WHEN 1 THEN -1 WHEN 2 THEN 1 END
     FROM generate_series(0, 9) n, unnest(array['binance', 'coin,"base']) p`,
  `INSERT INTO tick_data (provider, symbol, ts, price) VALUES ('binance', '${ODD}', ${TEN}, 1e-7), ('z', 'ETH', ${TEN} - interval '1 day', 5)`,
  `INSERT INTO md_ticks (symbol, ts, source, seq, price, volume)
   SELECT s, ${TEN} + n * interval '1 minute', 'feeder' || n % 2, n, (1000 + n)::text::numeric + 0.10, 0.00000000000000000001 * n
     FROM generate_series(0, 6) n, unnest(array['WEB', 'BTC']) s`,
  `INSERT INTO md_ranges (symbol, "window", agg)
   SELECT 'WEB', tstzrange(${TEN} + n * interval '1 minute', ${TEN} + (n + 1) * interval '1 minute'),
          jsonb_build_object('open', 1000 + n, 'high', 1001.50 + n, 'low', 990 - n, 'close', 1000.5 + n, 'volume', 0.1, 'count', n + 1)
     FROM generate_series(0, 5) n WHERE n <> 3`,
  `INSERT INTO bars_ohlcv (provider, symbol, "interval", ts, open, high, low, close, volume, vwap, tick_count, first_ts, last_ts, is_final, revision)
   SELECT 'binance', 'BTC', i, ${TEN} + n * interval '1 minute', 1, 4, 0.5, 2, n, nullif(n, 0), n, ${TEN}, ${TEN}, n < 6, n
     FROM generate_series(0, 6) n, unnest(array['1m', '5m']) i`,
  `INSERT INTO bars_replay (replay_run_id, provider, symbol, "interval", ts, open, high, low, close, volume, tick_count, first_ts, last_ts, is_final)
   SELECT 7, 'binance', 'BTC', '1m', ${TEN} + n * interval '1 minute', 1, 1, 1, 1, 1, 1, ${TEN}, ${TEN}, true FROM generate_series(0, 3) n`,
  `INSERT INTO bars_history (provider, symbol, "interval", ts, open, high, low, close, volume, tick_count, first_ts, last_ts, is_final, revision, created_at, updated_at)
   SELECT 'binance', 'BTC', '1m', ${TEN}, 1, 1, 1, 1, 1, 1, ${TEN}, ${TEN}, true, n, ${TEN}, ${TEN} FROM generate_series(0, 3) n`,
  `INSERT INTO signals (provider, symbol, ts, name, value, score, metadata, replay_run_id)
   SELECT 'binance', s, ${TEN} + n / 2 * interval '1 second', 'name' || n % 2, n, nullif(n, 3), jsonb_build_object('w', n, 'big', 9007199254740993), r
     FROM generate_series(0, 7) n, unnest(array['BTC', 'ETH']) s, unnest(array[0, 7]) r`,
  `INSERT INTO ticks SELECT n, ${TEN} + n * interval '1 second', 'aa' || n, CASE WHEN n <> 4 THEN 'out' || n - 1 END FROM generate_series(1, 9) n WHERE n <> 6`,
  `INSERT INTO vdf_proofs SELECT n, 'in' || n, 'out' || n, 'proof' || n, n FROM generate_series(1, 9) n WHERE n <> 6`,
  `INSERT INTO tick_transactions VALUES
     ('ab12', 'tx', 2, 0, '\\x00ff', '\\x01', '\\x02', 18446744073709551615, ${TEN}, ${TEN} + interval '2 seconds', ${TEN}, NULL, NULL),
     ('ab12', NULL, 5, 0, '\\x', '\\x01', '\\x02', 0, NULL, ${TEN} + interval '5 seconds', ${TEN}, '\\x00', 18446744073709551614),
     ('cd34', 'ß', 5, 1, '\\x', '\\x01', '\\x02', 1, ${TEN}, ${TEN} + interval '5 seconds', ${TEN}, NULL, NULL)`,
  `UPDATE ingest_state SET origin = 1`,
  `INSERT INTO ingest_state (chain_id, origin) SELECT 'c', 1 WHERE NOT EXISTS (SELECT FROM ingest_state)`,
  `INSERT INTO ingest_ledger (first_tick, last_tick, epoch, ticks, transactions) VALUES (1, 5, 1, 5, 3), (7, 9, 1, 3, 0)`,
  `INSERT INTO ingest_gaps (first_tick, last_tick, state) VALUES (6, 6, 'open'), (20, 30, 'filled'), (31, 31, 'unfillable')`,
  `INSERT INTO dead_letters (tick_number, after_tick, reason, detail, raw, raw_sha256, status)
   VALUES (18446744073709551615, NULL, 'wire', 'a "b"', '\\x0102', '\\xaa', 'open'), (NULL, 3, 'conflict', NULL, '\\x', '\\xbb', 'resolved')`,
  `INSERT INTO job_runs (job_name, provider, status, symbols, rows_written, metadata) VALUES
     ('tick_consumer', 'binance', 'running', array['A', 'B "'], 5, '{"a": 1}'), ('micro_batch', NULL, 'success', NULL, 0, '{}'),
     ('tick_consumer', NULL, 'failed', '{}', 0, '{}')`,
];
