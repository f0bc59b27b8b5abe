/** PostgreSQL type names of the columns written. */
export type ColumnType = 'int2' | 'int8' | 'float8' | 'text' | 'bytea' | 'numeric' | 'timestamptz' | 'jsonb';

interface Column {
  readonly name: string;
  readonly type: ColumnType;
  readonly nullable: boolean;
}

/** The columns a binary COPY writes into a table, in field order. */
export interface CopyTable {
  readonly name: string;
  readonly columns: readonly Column[];
}

function column(name: string, type: ColumnType): Column {
  return { name, type, nullable: false };
}

function nullable(name: string, type: ColumnType): Column {
  return { name, type, nullable: true };
}

export const TICKS: CopyTable = {
  name: 'ticks',
  columns: [
    column('tick_number', 'int8'),
    column('timestamp', 'timestamptz'),
    column('batch_hash', 'text'),
    nullable('previous_output', 'text'),
  ],
};

export const PROOFS: CopyTable = {
  name: 'vdf_proofs',
  columns: [
    column('tick_number', 'int8'),
    column('input', 'text'),
    column('output', 'text'),
    column('proof', 'text'),
    column('iterations', 'int8'),
  ],
};

export const TRANSACTIONS: CopyTable = {
  name: 'tick_transactions',
  columns: [
    column('tx_hash', 'text'),
    nullable('tx_id', 'text'),
    column('tick_number', 'int8'),
    column('sequence_number', 'int8'),
    column('payload', 'bytea'),
    column('signature', 'bytea'),
    column('public_key', 'bytea'),
    column('nonce', 'numeric'),
    nullable('timestamp', 'timestamptz'),
    column('tick_timestamp', 'timestamptz'),
    column('ingestion_timestamp', 'timestamptz'),
    nullable('tx_id_raw', 'bytea'),
    nullable('timestamp_us', 'numeric'),
  ],
};

/** Without the columns that the database fills in itself (created_at, tx). */
export const TICK_DATA: CopyTable = {
  name: 'tick_data',
  columns: [
    column('provider', 'text'),
    column('symbol', 'text'),
    column('ts', 'timestamptz'),
    column('seq', 'int8'),
    column('price', 'float8'),
    nullable('size', 'float8'),
    nullable('bid', 'float8'),
    nullable('ask', 'float8'),
    nullable('side', 'int2'),
  ],
};

/** Without the columns that the database fills in itself (created_at, tx). */
export const SIGNALS: CopyTable = {
  name: 'signals',
  columns: [
    column('provider', 'text'),
    column('symbol', 'text'),
    column('ts', 'timestamptz'),
    column('name', 'text'),
    column('value', 'float8'),
    nullable('score', 'float8'),
    nullable('metadata', 'jsonb'),
    column('replay_run_id', 'int8'),
  ],
};

/** Without the columns that the database fills in itself (created_at, tx). */
export const MD_TICKS: CopyTable = {
  name: 'md_ticks',
  columns: [
    column('symbol', 'text'),
    column('ts', 'timestamptz'),
    column('price', 'numeric'),
    column('volume', 'numeric'),
    column('source', 'text'),
    column('seq', 'int8'),
  ],
};

/** Column names that SQL takes for a word of its own unless quoted. */
const QUOTED = new Set(['timestamp', 'window']);

/** `COPY ticks (tick_number, "timestamp", …) FROM STDIN (FORMAT binary)` */
export function copyStatement(table: CopyTable): string {
  return `COPY ${table.name} (${columnList(table)}) FROM STDIN (FORMAT binary)`;
}

/** `tick_number, "timestamp", …` */
export function columnList({ columns }: { columns: readonly { name: string }[] }): string {
  return columns.map(({ name }) => (QUOTED.has(name) ? `"${name}"` : name)).join(', ');
}
