import type { ChainTable, ExportRequest } from '../../core/export/request.ts';
import { wideMicrosOf } from '../postgres/time-sql.ts';
import type { SqlColumn } from '../queries/query.ts';

/**
 * The columns of exports: those of the table by their names, created_at last; without what only the program needs (tx, exact
 * sums). What is the same in every row is not sent by the server.
 */
export function exportColumns(request: ExportRequest): readonly SqlColumn[] {
  switch (request.dataset) {
    case 'ticks':
      return [...seriesColumns(request), ...TICK_COLUMNS];
    case 'bars':
      return [...seriesColumns(request), ...barColumns(request)];
    case 'signals':
      return [...seriesColumns(request), ...SIGNAL_COLUMNS];
    case 'chain':
      return CHAIN_COLUMNS[request.table];
  }
}

/** The column by which the rows are ordered first. */
export function timeColumn(request: ExportRequest): string {
  if (request.dataset !== 'chain') return 'ts';
  return request.table === 'tick_transactions' ? 'tick_timestamp' : 'timestamp';
}

/** Columns that tell rows of one time apart, in order. */
export function keyColumns({ dataset, table }: ExportRequest): readonly string[] {
  switch (dataset) {
    case 'ticks':
      return ['symbol', 'seq'];
    case 'bars':
      return ['symbol', '"interval"', 'replay_run_id'];
    case 'signals':
      return ['symbol', 'name', 'replay_run_id'];
    case 'chain':
      return table === 'tick_transactions' ? ['tick_number', 'sequence_number'] : ['tick_number'];
  }
}

function seriesColumns({ provider, symbols }: ExportRequest): SqlColumn[] {
  const symbol: SqlColumn = { name: 'symbol', type: 'text', repeats: true };
  return [
    { name: 'provider', type: 'text', repeats: true, constant: provider ?? '' },
    symbols?.length === 1 ? { ...symbol, constant: symbols[0] } : symbol,
  ];
}

const CREATED_AT: SqlColumn = { name: 'created_at', type: 'timestamp' };

const TICK_COLUMNS: readonly SqlColumn[] = [
  { name: 'price', type: 'float64' },
  { name: 'ts', type: 'timestamp' },
  { name: 'size', type: 'float64' },
  { name: 'bid', type: 'float64' },
  { name: 'ask', type: 'float64' },
  { name: 'side', type: 'int16' },
  { name: 'seq', type: 'int64' },
  CREATED_AT,
];

function barColumns({ run }: ExportRequest): SqlColumn[] {
  return [
    { name: 'interval', type: 'text', repeats: true },
    { name: 'ts', type: 'timestamp' },
    { name: 'open', type: 'float64' },
    { name: 'high', type: 'float64' },
    { name: 'low', type: 'float64' },
    { name: 'close', type: 'float64' },
    { name: 'volume', type: 'float64' },
    { name: 'vwap', type: 'float64' },
    { name: 'tick_count', type: 'count' },
    { name: 'first_ts', type: 'timestamp' },
    { name: 'last_ts', type: 'timestamp' },
    { name: 'is_final', type: 'bool' },
    { name: 'revision', type: 'count', sql: 'revision::bigint' },
    ...(run === 'live' ? [] : [{ name: 'replay_run_id', type: 'count' } as const]),
    { name: 'updated_at', type: 'timestamp' },
    CREATED_AT,
  ];
}

const SIGNAL_COLUMNS: readonly SqlColumn[] = [
  { name: 'ts', type: 'timestamp' },
  { name: 'name', type: 'text', repeats: true },
  { name: 'value', type: 'float64' },
  { name: 'score', type: 'float64' },
  { name: 'metadata', type: 'json', sql: 'metadata::text' },
  { name: 'replay_run_id', type: 'count' },
  CREATED_AT,
];

const CHAIN_COLUMNS: Readonly<Record<ChainTable, readonly SqlColumn[]>> = {
  ticks: [
    { name: 'tick_number', type: 'int64' },
    { name: 'timestamp', type: 'timestamp' },
    { name: 'batch_hash', type: 'hex' },
    {
      name: 'previous_output',
      type: 'hex',
      // left out of a row whose neighbour has it
      sql: 'coalesce(previous_output, (SELECT p.output FROM vdf_proofs p WHERE p.tick_number = r.tick_number - 1))',
    },
  ],
  vdf_proofs: [
    { name: 'tick_number', type: 'int64' },
    { name: 'timestamp', type: 'timestamp' },
    { name: 'input', type: 'hex' },
    { name: 'output', type: 'hex' },
    { name: 'proof', type: 'hex' },
    { name: 'iterations', type: 'int64' },
  ],
  tick_transactions: [
    { name: 'tick_number', type: 'int64' },
    { name: 'sequence_number', type: 'int64' },
    { name: 'tick_timestamp', type: 'timestamp' },
    { name: 'tx_hash', type: 'hex' },
    { name: 'tx_id', type: 'text' },
    { name: 'tx_id_raw', type: 'hex', sql: "encode(tx_id_raw, 'hex')" },
    { name: 'payload', type: 'hex', sql: "encode(payload, 'hex')" },
    { name: 'signature', type: 'hex', sql: "encode(signature, 'hex')" },
    { name: 'public_key', type: 'hex', sql: "encode(public_key, 'hex')" },
    { name: 'nonce', type: 'uint64', sql: 'nonce::text' },
    {
      name: 'timestamp_us',
      type: 'uint64',
      sql: `coalesce(timestamp_us, ${wideMicrosOf('"timestamp"')})::text`,
    },
    { name: 'ingestion_timestamp', type: 'timestamp' },
  ],
};
