/** The types of the chain's columns, by the names of PostgreSQL. */
export type ColumnType = 'int8' | 'text' | 'bytea' | 'numeric' | 'timestamptz';

interface Column {
  readonly name: string;
  readonly type: ColumnType;
  readonly nullable: boolean;
}

/** What a binary COPY writes into a table: its columns, in the order of the fields of a row. */
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

/** Column names that SQL reads as a type unless they are quoted. */
const QUOTED = new Set(['timestamp']);

/** `COPY ticks (tick_number, "timestamp", …) FROM STDIN (FORMAT binary)` */
export function copyStatement(table: CopyTable): string {
  const names = table.columns.map(({ name }) => (QUOTED.has(name) ? `"${name}"` : name));
  return `COPY ${table.name} (${names.join(', ')}) FROM STDIN (FORMAT binary)`;
}
