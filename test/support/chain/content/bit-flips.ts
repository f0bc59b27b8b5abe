import type { Client } from 'pg';
import type { FindingKind } from '../../../../src/core/chain/verify/verify.ts';
import type { Random } from '../../random.ts';

/** `tick kind`, as verify must find it. */
export type Expected = string;

/** One bit of one stored field, turned over by SQL: applying it a second time turns it back. */
export interface BitFlip {
  field: string;
  tick: bigint;
  expected: Expected[];
  apply(client: Client): Promise<void>;
  undo(client: Client): Promise<void>;
}

export interface FlipOptions {
  random: Random;
  /** of the chain that is stored, without holes */
  first: bigint;
  last: bigint;
  /** outputs are recomputed: a false one is found with its own tick, not only by the link of the next */
  withVdf: boolean;
}

type Table = 'ticks' | 'vdf_proofs' | 'tick_transactions';
type Type = 'hex' | 'text' | 'bytea' | 'int8' | 'numeric' | 'timestamptz';

interface Field {
  table: Table;
  column: string;
  type: Type;
  /** which ticks have something to turn over: a condition on the table's alias t, and on count, the transactions */
  where?: string;
  /** the bit; otherwise any that the type allows. far: to the number of no stored tick; rising: becomes much larger */
  bit?: number | 'far' | 'rising';
  kinds(at: Site, withVdf: boolean): Kinds;
}

/** Where a bit is turned over. */
interface Site {
  tick: bigint;
  bit: number;
  /** the next tick's previous_output was left out */
  nextIsLinked: boolean;
}

type Kinds = [offset: bigint, kind: FindingKind][];

const one =
  (kind: FindingKind): (() => Kinds) =>
  () => [[0n, kind]];

/** Every column that a formula reaches. */
const FIELDS: readonly Field[] = [
  { table: 'ticks', column: 'tick_number', type: 'int8', bit: 'far', kinds: one('missing') },
  { table: 'ticks', column: 'timestamp', type: 'timestamptz', where: 'count > 0', kinds: one('missing') },
  { table: 'ticks', column: 'batch_hash', type: 'hex', kinds: one('batch_hash') },
  {
    table: 'ticks',
    column: 'previous_output',
    type: 'hex',
    kinds: one('link'),
  },
  {
    table: 'vdf_proofs',
    column: 'tick_number',
    type: 'int8',
    bit: 'far',
    kinds: ({ nextIsLinked }) =>
      nextIsLinked
        ? [
            [0n, 'missing'],
            [1n, 'link'],
          ]
        : [[0n, 'missing']],
  },
  { table: 'vdf_proofs', column: 'input', type: 'hex', kinds: one('vdf_input') },
  {
    table: 'vdf_proofs',
    column: 'output',
    type: 'hex',
    kinds: ({ nextIsLinked }, withVdf) =>
      withVdf
        ? [
            [0n, 'vdf_output'],
            [1n, 'link'],
          ]
        : [[1n, nextIsLinked ? 'vdf_input' : 'link']],
  },
  {
    table: 'vdf_proofs',
    column: 'iterations',
    type: 'int8',
    kinds: ({ bit }, withVdf) => {
      if (!withVdf) return [];
      // 2^19 is the last power of two below 10^6; bit 63 makes it negative
      return [[0n, bit > 19 && bit < 63 ? 'vdf_unverifiable' : 'vdf_output']];
    },
  },
  { table: 'tick_transactions', column: 'tx_hash', type: 'hex', kinds: one('tx_hash') },
  {
    table: 'tick_transactions',
    column: 'tx_id',
    type: 'text',
    bit: 0,
    kinds: one('tx_hash'),
  },
  {
    table: 'tick_transactions',
    column: 'tx_id_raw',
    type: 'bytea',
    kinds: one('tx_hash'),
  },
  { table: 'tick_transactions', column: 'payload', type: 'bytea', kinds: one('tx_hash') },
  { table: 'tick_transactions', column: 'signature', type: 'bytea', kinds: one('tx_hash') },
  { table: 'tick_transactions', column: 'public_key', type: 'bytea', kinds: one('tx_hash') },
  { table: 'tick_transactions', column: 'nonce', type: 'numeric', kinds: one('tx_hash') },
  {
    table: 'tick_transactions',
    column: 'timestamp',
    type: 'timestamptz',
    where: 't."timestamp" IS NOT NULL',
    kinds: one('tx_hash'),
  },
  {
    table: 'tick_transactions',
    column: 'timestamp_us',
    type: 'numeric',
    where: 't.timestamp_us IS NOT NULL',
    kinds: one('tx_hash'),
  },
  { table: 'tick_transactions', column: 'tick_timestamp', type: 'timestamptz', kinds: one('missing') },
  { table: 'tick_transactions', column: 'tick_number', type: 'int8', bit: 'far', kinds: one('batch_hash') },
  {
    // the first of several becomes the last
    table: 'tick_transactions',
    column: 'sequence_number',
    type: 'int8',
    where: 'count > 1',
    bit: 'rising',
    kinds: one('batch_hash'),
  },
];

/** Columns that no formula reaches; sequence_number here in a tick with one transaction. */
const UNREACHED: readonly Field[] = [
  { table: 'ticks', column: 'timestamp', type: 'timestamptz', where: 'count = 0', kinds: () => [] },
  { table: 'vdf_proofs', column: 'proof', type: 'hex', kinds: () => [] },
  { table: 'tick_transactions', column: 'ingestion_timestamp', type: 'timestamptz', kinds: () => [] },
  {
    table: 'tick_transactions',
    column: 'sequence_number',
    type: 'int8',
    where: 'count = 1',
    kinds: () => [],
  },
];

export const REACHED_FIELDS = FIELDS.length;

/** One flip of every field that a formula reaches, of those that none reaches when asked; each at a tick of its own. */
export async function chooseFlips(
  client: Client,
  options: FlipOptions,
  fields: 'reached' | 'unreached' = 'reached',
): Promise<BitFlip[]> {
  const taken = new Set<bigint>();
  const flips: BitFlip[] = [];
  for (const field of fields === 'reached' ? FIELDS : UNREACHED) {
    flips.push(await chooseFlip(client, field, options, taken));
  }
  return flips;
}

async function chooseFlip(
  client: Client,
  field: Field,
  { random, first, last, withVdf }: FlipOptions,
  taken: Set<bigint>,
): Promise<BitFlip> {
  const isTransaction = field.table === 'tick_transactions';
  const count = '(SELECT count(*) FROM tick_transactions x WHERE x.tick_number = t.tick_number)';
  const isRun = field.type !== 'int8' && field.type !== 'numeric' && field.type !== 'timestamptz';
  const hasBits = isRun ? `length(t.${field.column}) > 0` : 'true';
  const where = `${hasBits} AND ${(field.where ?? 'true').replace(/\bcount\b/, count)}`;
  const columns = isTransaction ? 't.tick_number, t.sequence_number' : 't.tick_number, 0 AS sequence_number';
  // from a random place on: the first tick that fits and has no flip beside it; from the beginning when none follows
  const start = first + 1n + BigInt(random.whole(0, Number(last - first) - 2));
  const sql = `SELECT ${columns} FROM ${field.table} t
    WHERE t.tick_number > $1 AND t.tick_number < $2 AND ${where} AND t.tick_number <> ALL ($3::bigint[])
    ORDER BY t.tick_number${isTransaction ? ', t.sequence_number' : ''} LIMIT 1`;
  type Row = { tick_number: string; sequence_number: string };
  const from = async (after: bigint): Promise<Row | undefined> =>
    (await client.query<Row>(sql, [`${after}`, `${last}`, [...taken].map(String)])).rows[0];
  const row = (await from(start)) ?? (await from(first));
  if (row === undefined) throw new Error(`no tick has a ${field.column} to turn over`);
  const tick = BigInt(row.tick_number);
  for (let near = tick - 2n; near <= tick + 2n; near++) taken.add(near);
  const next = await client.query<{ linked: boolean }>(
    'SELECT previous_output IS NULL AS linked FROM ticks WHERE tick_number = $1',
    [`${tick + 1n}`],
  );
  const bit =
    field.bit === 'far'
      ? farBit(tick, first, last)
      : field.bit === 'rising'
        ? risingBit(BigInt(row.sequence_number))
        : (field.bit ?? anyBit(field.type, random));
  const site = { tick, bit, nextIsLinked: next.rows[0].linked };
  const key = isTransaction ? ` AND sequence_number = ${row.sequence_number}` : '';
  const place = random.next();
  const update = async (number: bigint, sequence: string): Promise<void> => {
    const set = `UPDATE ${field.table} SET "${field.column}" = ${flipped(field, bit, place)}
      WHERE tick_number = ${number}${isTransaction ? sequence : ''}`;
    const { rowCount } = await client.query(set);
    if (rowCount !== 1) throw new Error(`${rowCount} rows changed by ${set}`);
  };
  const moved = field.column === 'tick_number' ? tick ^ (1n << BigInt(bit)) : tick;
  const movedKey =
    field.column === 'sequence_number'
      ? ` AND sequence_number = ${BigInt(row.sequence_number) ^ (1n << BigInt(bit))}`
      : key;
  return {
    field: `${field.table}.${field.column}`,
    tick,
    expected: field.kinds(site, withVdf).map(([offset, kind]) => `${tick + offset} ${kind}`),
    apply: () => update(tick, key),
    undo: () => update(moved, movedKey),
  };
}

/** ticks in a chunk of vdf_proofs: an UPDATE cannot move a row to another one */
const CHUNK_TICKS = 50_000_000n;

function farBit(tick: bigint, first: bigint, last: bigint): number {
  for (let bit = 0; bit < 26; bit++) {
    const moved = tick ^ (1n << BigInt(bit));
    // a proof at first - 1 would be the one before the chain, and the first link is then rightly found false
    if ((moved < first - 1n || moved > last) && moved / CHUNK_TICKS === tick / CHUNK_TICKS) return bit;
  }
  throw new Error(`tick ${tick} has no bit that makes it a number which is not stored`);
}

function risingBit(value: bigint): number {
  let bit = 32;
  while ((value & (1n << BigInt(bit))) !== 0n) bit += 1;
  return bit;
}

function anyBit(type: Type, random: Random): number {
  switch (type) {
    case 'hex':
      return random.whole(0, 6); // the eighth would be another encoding
    case 'int8':
      return random.whole(0, 63);
    case 'numeric':
      return random.whole(0, 63);
    case 'timestamptz':
      return random.whole(0, 30); // 18 minutes: the same day, as a hypertable wants
    case 'text':
    case 'bytea':
      return 0;
  }
}

/** The column with the bit turned over; `place` in [0, 1) says where in a run of bytes. */
function flipped({ column, type }: Field, bit: number, place: number): string {
  const name = `"${column}"`;
  switch (type) {
    case 'hex':
    case 'text': {
      const at = `(1 + floor(${place} * length(${name}))::int)`;
      return `overlay(${name} placing chr(ascii(substr(${name}, ${at}, 1)) # ${1 << bit}) from ${at} for 1)`;
    }
    case 'bytea': {
      const at = `floor(${place} * 8 * length(${name}))::bigint`;
      return `set_bit(${name}, ${at}, 1 - get_bit(${name}, ${at}))`;
    }
    case 'int8':
      return `${name} # (1::bigint << ${bit})`;
    case 'numeric':
      return `${name} + ${sign(name, bit)} * ${1n << BigInt(bit)}`;
    case 'timestamptz':
      return `${name} + ${sign(`(extract(epoch from ${name}) * 1000000)`, bit)}::int * ${1 << bit} * interval '1 microsecond'`;
  }
}

/** 1 when the bit of a number is not set, else −1: added that often it turns the bit over. */
function sign(number: string, bit: number): string {
  return `(1 - 2 * mod(div(${number}, ${1n << BigInt(bit)}), 2))`;
}
