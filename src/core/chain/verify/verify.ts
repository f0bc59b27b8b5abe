import { batchHash, txHash, VDF_ITERATIONS_MAX, vdfInput, vdfOutput } from '../hash.ts';
import type { Transaction } from '../tick.ts';

/**
 * Whether a stored tick is what the chain's formulas make of it. What is stored suffices, so one changed bit is found
 * in every column that a formula reaches:
 *
 * | column | finding |
 * |---|---|
 * | tx_id, tx_id_raw, payload, signature, public_key, nonce, timestamp, timestamp_us, tx_hash | tx_hash |
 * | sequence_number, when it changes the order of two transactions; batch_hash | batch_hash |
 * | previous_output | link; vdf_input when the output of the tick before is not stored |
 * | input | vdf_input |
 * | output, iterations | vdf_output (above 10^6: vdf_unverifiable); an output also breaks the link of the next tick |
 * | tick_number in ticks or vdf_proofs, tick_timestamp, the timestamp of a tick with transactions | missing |
 * | tick_number in tick_transactions | batch_hash of the tick that lost the transaction |
 *
 * **No formula reaches**: `proof` (the Wesolowski proof of so few squarings is always 1: it proves nothing), the
 * `timestamp` of a tick without transactions, `ingestion_timestamp`, and a `sequence_number` that leaves the order as
 * it was.
 *
 * A finding names the cause and not its consequences: what is hashed further is judged with the value that should stand
 * there as well, so a false tx_hash is no false batch_hash, and a false input no false output. That hides nothing,
 * because the first of them is a finding already.
 *
 * Hex is compared as bytes, because the formulas are over bytes and the sequencer may write either case. But letters
 * of both cases in one value are a finding: no encoder writes that, and one changed bit does.
 */

/** In the order in which they are told of one tick. */
export const FINDING_KINDS = [
  'missing',
  'tx_hash',
  'batch_hash',
  'link',
  'vdf_input',
  'vdf_output',
  'vdf_unverifiable',
] as const;
export type FindingKind = (typeof FINDING_KINDS)[number];

export interface Finding {
  tick: bigint;
  /** the last of a run of ticks with the same finding; `tick` itself for a single one */
  last: bigint;
  kind: FindingKind;
  /** a sentence for people */
  detail: string;
}

/** A tick whose rows are all there. Hex is text as it is stored. */
export interface StoredTick {
  tickNumber: bigint;
  /** µs since 1970 */
  timestamp: bigint;
  batchHash: Buffer;
  /** null: stored as equal to the output of the tick before */
  previousOutput: Buffer | null;
  input: Buffer;
  output: Buffer;
  iterations: bigint;
  /** in any order */
  transactions: StoredTransaction[];
}

export interface StoredTransaction {
  sequenceNumber: bigint;
  txHash: Buffer;
  /** µs since 1970 */
  tickTimestamp: bigint;
  /** null when the columns hold none: a nonce that is no u64, an id or a time in both of its columns or in neither */
  transaction: Transaction | null;
}

const EMPTY_BATCH = batchHash([]);
const NO_FINDINGS: readonly Finding[] = [];

/**
 * Verifies one tick. At most one finding of each kind, in the order of FINDING_KINDS.
 * @param before output of the tick before as stored, null when that is not stored
 * @param withVdf recomputes the output: some 40 µs for 27 iterations, up to seconds for 10^6
 */
export function verifyTick(tick: StoredTick, before: Buffer | null, withVdf: boolean): readonly Finding[] {
  const check = new TickCheck(tick, before);
  check.transactions();
  check.batch();
  check.link();
  check.input();
  if (withVdf) check.output();
  return check.findings();
}

/** The checks in their order; each leaves what the later ones may be judged with. */
class TickCheck {
  readonly #tick: StoredTick;
  readonly #before: Buffer | null;
  #findings: Finding[] | null = null;
  /** the batch hash that follows from the transactions; two when a tx_hash is false */
  #batches: Buffer[] = [EMPTY_BATCH];
  #batchIsFalse = false;
  #linkIsFalse = false;
  /** inputs that may be the true one, when the stored one is not */
  #inputs: Buffer[] = [];

  constructor(tick: StoredTick, before: Buffer | null) {
    this.#tick = tick;
    this.#before = before;
  }

  findings(): readonly Finding[] {
    const findings = this.#findings;
    if (findings === null) return NO_FINDINGS;
    const order = ({ kind }: Finding): number => FINDING_KINDS.indexOf(kind);
    return findings.toSorted((a, b) => order(a) - order(b));
  }

  transactions(): void {
    const { transactions, timestamp } = this.#tick;
    if (transactions.length === 0) return;
    const inOrder = transactions.length === 1 ? transactions : transactions.toSorted(bySequence);
    const apart = inOrder.find(({ tickTimestamp }) => tickTimestamp !== timestamp);
    if (apart !== undefined) {
      this.#add('missing', `transaction ${apart.sequenceNumber} has another tick_timestamp than the tick`);
    }
    const stored: (Buffer | null)[] = [];
    const real: (Buffer | null)[] = [];
    let falseOnes = 0;
    let firstFalse: StoredTransaction | null = null;
    for (const transaction of inOrder) {
      const hash = transaction.transaction === null ? null : txHash(transaction.transaction);
      const isTrue = hash !== null && isHexOf(transaction.txHash, hash);
      if (!isTrue) {
        falseOnes += 1;
        firstFalse ??= transaction;
      }
      real.push(hash);
      stored.push(isTrue ? hash : hexBytes(transaction.txHash));
    }
    if (firstFalse === null) {
      this.#batches = [batchHash(stored as Buffer[])];
      return;
    }
    const others = falseOnes === 1 ? '' : `, and of ${falseOnes - 1} more`;
    this.#add('tx_hash', `tx_hash does not follow from transaction ${firstFalse.sequenceNumber}${others}`);
    this.#batches = [stored, real].flatMap((hashes) => (hashes.every(isThere) ? [batchHash(hashes)] : []));
  }

  batch(): void {
    const { batchHash, transactions } = this.#tick;
    if (this.#batches.some((batch) => isHexOf(batchHash, batch))) return;
    this.#batchIsFalse = true;
    this.#add('batch_hash', `batch_hash does not follow from the ${transactions.length} stored transactions`);
  }

  link(): void {
    const { previousOutput, tickNumber } = this.#tick;
    const before = this.#before;
    if (previousOutput !== null && (before === null || sameHexText(previousOutput, before))) return;
    if (previousOutput === null && before !== null) return;
    this.#linkIsFalse = true;
    const what =
      previousOutput === null
        ? `previous_output is null and the output of tick ${tickNumber - 1n} is not stored`
        : `previous_output is not the output of tick ${tickNumber - 1n}`;
    this.#add('link', what);
  }

  input(): void {
    const tick = this.#tick;
    const previous: (Buffer | null)[] = [tick.previousOutput ?? this.#before];
    if (this.#linkIsFalse) previous.push(this.#before);
    const batches = this.#batchIsFalse ? [hexBytes(tick.batchHash), ...this.#batches] : this.#batches;
    const outputs = previous.filter((text) => text !== null).map(hexBytes);
    const inputs: Buffer[] = [];
    for (const output of outputs) {
      for (const batch of batches) {
        if (output === null || batch === null) continue;
        const input = vdfInput(output, batch, tick.tickNumber);
        if (isHexOf(tick.input, input)) return;
        inputs.push(input);
      }
    }
    // nothing is known of what came before, and that is a finding already
    if (this.#linkIsFalse && outputs.length === 0) return;
    this.#inputs = inputs;
    this.#add('vdf_input', 'input does not follow from previous_output, batch_hash and tick_number');
  }

  output(): void {
    const { input, iterations, output } = this.#tick;
    if (iterations > VDF_ITERATIONS_MAX) {
      this.#add('vdf_unverifiable', `${iterations} iterations are above ${VDF_ITERATIONS_MAX}`);
      return;
    }
    const yields = (from: Buffer | null): boolean =>
      from !== null && iterations >= 0n && isHexOf(output, vdfOutput(from, iterations));
    if (yields(hexBytes(input))) {
      this.#inputIsProven();
      return;
    }
    if (this.#inputs.some(yields)) return;
    this.#add('vdf_output', `output does not follow from input in ${iterations} iterations`);
  }

  /**
   * The output follows from the input, so the input is true. Where it contradicts an output that previous_output was
   * left out for, that output is what is false.
   */
  #inputIsProven(): void {
    if (this.#tick.previousOutput !== null || this.#batchIsFalse) return;
    const finding = this.#findings?.find(({ kind }) => kind === 'vdf_input');
    if (finding === undefined) return;
    finding.kind = 'link';
    finding.detail = `input was not made from the stored output of tick ${this.#tick.tickNumber - 1n}`;
  }

  #add(kind: FindingKind, detail: string): void {
    const { tickNumber } = this.#tick;
    (this.#findings ??= []).push({ tick: tickNumber, last: tickNumber, kind, detail });
  }
}

function bySequence(a: StoredTransaction, b: StoredTransaction): number {
  return a.sequenceNumber < b.sequenceNumber ? -1 : a.sequenceNumber > b.sequenceNumber ? 1 : 0;
}

function isThere(hash: Buffer | null): hash is Buffer {
  return hash !== null;
}

/** Whether the text is these bytes in hex. */
function isHexOf(text: Buffer, bytes: Buffer): boolean {
  if (text.toString('latin1') === bytes.toString('hex')) return true;
  return hexBytes(text)?.equals(bytes) ?? false;
}

/** Whether two texts are the same bytes in hex. */
function sameHexText(a: Buffer, b: Buffer): boolean {
  if (a.equals(b)) return true;
  const bytes = hexBytes(a);
  const others = hexBytes(b);
  return bytes !== null && others !== null && bytes.equals(others);
}

const NO_DIGIT = 0xff;
const LOWER = 0x10;
const UPPER = 0x20;
/** value of a digit, with a flag for the case of a letter */
const DIGITS = new Uint8Array(256).fill(NO_DIGIT);
for (let value = 0; value < 16; value++) {
  const digit = value.toString(16);
  DIGITS[digit.charCodeAt(0)] = value < 10 ? value : value | LOWER;
  if (value >= 10) DIGITS[digit.toUpperCase().charCodeAt(0)] = value | UPPER;
}

/** The bytes of a hex text; null when it is none, or when its letters are of both cases. */
function hexBytes(text: Buffer): Buffer | null {
  if (text.length % 2 !== 0) return null;
  const bytes = Buffer.allocUnsafe(text.length / 2);
  let flags = 0;
  for (let at = 0; at < bytes.length; at++) {
    const high = DIGITS[text[2 * at]];
    const low = DIGITS[text[2 * at + 1]];
    flags |= high | low;
    bytes[at] = ((high & 0xf) << 4) | (low & 0xf);
  }
  const isHex = (flags & 0xc0) === 0;
  const isMixed = (flags & (LOWER | UPPER)) === (LOWER | UPPER);
  return isHex && !isMixed ? bytes : null;
}
