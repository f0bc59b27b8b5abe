import { CopyRows } from '../copy/rows-out.ts';
import type { TickRange } from '../ingest/ranges.ts';
import type { Transaction } from './tick.ts';
import type { StoredTick, StoredTransaction } from './verify/verify.ts';

/** The columns of each table that a page is made of, in the order of the fields of its rows. */
export const PAGE_COLUMNS = {
  ticks: ['tick_number', 'timestamp', 'batch_hash', 'previous_output'],
  proofs: ['tick_number', 'input', 'output', 'iterations'],
  transactions: [
    'tick_number',
    'sequence_number',
    'tick_timestamp',
    'tx_hash',
    'tx_id',
    'tx_id_raw',
    'payload',
    'signature',
    'public_key',
    'nonce',
    'timestamp',
    'timestamp_us',
  ],
} as const;

/** Binary COPY of the rows of a range, in any order: ticks and transactions of the range, proofs from one tick before it. */
export interface PageBytes {
  ticks: Buffer;
  proofs: Buffer;
  transactions: Buffer;
}

const NO_ROW = -1;
const SEVERAL_ROWS = -2;

/** What is stored of a range of tick numbers. The rows stay bytes until a tick is asked for. Made once, used again. */
export class TickPage {
  first = 0n;
  last = -1n;
  readonly #ticks = new CopyRows(PAGE_COLUMNS.ticks.length);
  readonly #proofs = new CopyRows(PAGE_COLUMNS.proofs.length);
  readonly #transactions = new CopyRows(PAGE_COLUMNS.transactions.length);
  /** offset of the row of first + slot, NO_ROW or SEVERAL_ROWS */
  #tickRow = new Int32Array(0);
  /** the same, one slot ahead: slot 0 is the tick before the page */
  #proofRow = new Int32Array(0);
  /** rows of transactions of slot: #sorted[#from[slot]] to before #sorted[#from[slot + 1]] */
  #from = new Int32Array(1);
  #sorted = new Int32Array(0);
  #slots = 0;

  get size(): number {
    return this.#slots;
  }

  /**
   * @throws RangeError when the bytes are no such rows, or of other ticks
   */
  load({ first, last }: TickRange, bytes: PageBytes): void {
    this.first = first;
    this.last = last;
    this.#slots = Number(last - first) + 1;
    if (this.#tickRow.length < this.#slots) {
      this.#tickRow = new Int32Array(this.#slots);
      this.#proofRow = new Int32Array(this.#slots + 1);
      this.#from = new Int32Array(this.#slots + 1);
    }
    placeRows(this.#ticks, bytes.ticks, first, this.#tickRow.subarray(0, this.#slots));
    placeRows(this.#proofs, bytes.proofs, first - 1n, this.#proofRow.subarray(0, this.#slots + 1));
    this.#sortTransactions(bytes.transactions);
  }

  /** Numbers of which there is nothing at all, in order. */
  missing(): TickRange[] {
    const ranges: TickRange[] = [];
    for (let slot = 0; slot < this.#slots; slot++) {
      if (!this.#isAbsent(slot)) continue;
      const from = slot;
      while (slot + 1 < this.#slots && this.#isAbsent(slot + 1)) slot += 1;
      ranges.push({ first: this.first + BigInt(from), last: this.first + BigInt(slot) });
    }
    return ranges;
  }

  /** Why the rows of a number do not make a tick; null when they do, or when there are none at all. */
  incomplete(slot: number): string | null {
    if (this.#isAbsent(slot)) return null;
    if (this.#tickRow[slot] === SEVERAL_ROWS) return 'several rows in ticks';
    const hasTick = this.#tickRow[slot] !== NO_ROW;
    const hasProof = this.#proofRow[slot + 1] !== NO_ROW;
    if (hasTick && hasProof) return null;
    if (hasTick) return 'a row in ticks, none in vdf_proofs';
    if (hasProof) return 'a row in vdf_proofs, none in ticks';
    return 'rows in tick_transactions, none in ticks and vdf_proofs';
  }

  /** Whether the rows of a number make a tick. */
  isComplete(slot: number): boolean {
    return this.#tickRow[slot] >= 0 && this.#proofRow[slot + 1] >= 0;
  }

  transactionCount(slot: number): number {
    return this.#from[slot + 1] - this.#from[slot];
  }

  /** Only of a slot that is complete. Shares the page's memory. */
  tick(slot: number): StoredTick {
    const ticks = this.#ticks;
    const proofs = this.#proofs;
    ticks.visit(this.#tickRow[slot]);
    proofs.visit(this.#proofRow[slot + 1]);
    return {
      tickNumber: ticks.int64(0),
      timestamp: ticks.micros(1) ?? 0n,
      batchHash: ticks.required(2),
      previousOutput: ticks.run(3),
      input: proofs.required(1),
      output: proofs.required(2),
      iterations: proofs.int64(3),
      transactions: this.#transactionsOf(slot),
    };
  }

  /** Output of the tick before, null when it is not stored. */
  outputBefore(slot: number): Buffer | null {
    const row = this.#proofRow[slot];
    if (row < 0) return null;
    this.#proofs.visit(row);
    return this.#proofs.required(2);
  }

  #isAbsent(slot: number): boolean {
    return (
      this.#tickRow[slot] === NO_ROW &&
      this.#proofRow[slot + 1] === NO_ROW &&
      this.#from[slot] === this.#from[slot + 1]
    );
  }

  /** By tick, in one pass over the numbers (counting sort). */
  #sortTransactions(bytes: Buffer): void {
    const rows = this.#transactions;
    const from = this.#from.fill(0, 0, this.#slots + 1);
    const slots: number[] = [];
    const offsets: number[] = [];
    rows.begin(bytes);
    while (rows.next()) {
      const slot = slotOf(rows.int64(0), this.first, this.#slots);
      slots.push(slot);
      offsets.push(rows.row);
      from[slot] += 1;
    }
    let end = 0;
    for (let slot = 0; slot <= this.#slots; slot++) from[slot] = end += from[slot];
    if (this.#sorted.length < offsets.length) this.#sorted = new Int32Array(offsets.length);
    // from the end, so that the rows of a tick keep their order; each `from` ends at the first row of its slot
    for (let at = offsets.length - 1; at >= 0; at--) this.#sorted[--from[slots[at]]] = offsets[at];
  }

  #transactionsOf(slot: number): StoredTransaction[] {
    const transactions: StoredTransaction[] = [];
    for (let at = this.#from[slot]; at < this.#from[slot + 1]; at++) {
      transactions.push(this.#transaction(this.#sorted[at]));
    }
    return transactions;
  }

  #transaction(row: number): StoredTransaction {
    const rows = this.#transactions;
    rows.visit(row);
    return {
      sequenceNumber: rows.int64(1),
      tickTimestamp: rows.micros(2) ?? 0n,
      txHash: rows.required(3),
      transaction: readTransaction(rows),
    };
  }
}

/** null when the columns do not say one transaction. */
function readTransaction(rows: CopyRows): Transaction | null {
  if (rows.isNull(4) === rows.isNull(5) || rows.isNull(10) === rows.isNull(11)) return null;
  const txId = rows.run(4) ?? rows.required(5);
  const nonce = rows.u64(9);
  const micros = rows.micros(10) ?? rows.u64(11);
  if (micros === null || micros < 0n || nonce === null) return null;
  return {
    txId,
    payload: rows.required(6),
    signature: rows.required(7),
    publicKey: rows.required(8),
    nonce,
    timestamp: micros,
  };
}

function placeRows(rows: CopyRows, bytes: Buffer, first: bigint, places: Int32Array): void {
  places.fill(NO_ROW);
  rows.begin(bytes);
  while (rows.next()) {
    const slot = slotOf(rows.int64(0), first, places.length);
    places[slot] = places[slot] === NO_ROW ? rows.row : SEVERAL_ROWS;
  }
}

function slotOf(number: bigint, first: bigint, slots: number): number {
  const slot = Number(number - first);
  if (slot < 0 || slot >= slots) throw new RangeError(`tick ${number} is not of the page that was asked for`);
  return slot;
}
