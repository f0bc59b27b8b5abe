/**
 * Reads a protobuf Tick (proto/continuum.proto) without making an object: what it finds goes to numbered slots of
 * typed arrays that are reused for the next frame. Every u64 is a pair of uint32 words (hi, lo), exact over its
 * whole range; a string or bytes field is (start, length) into the frame's bytes.
 *
 * As protobuf asks: fields in any order, the last scalar wins, embedded messages that repeat are merged, unknown
 * fields and groups are skipped, and a known number with another wire type is unknown. Malformed is also a varint
 * whose tenth byte carries more than the 64th bit (prost and Go refuse it too).
 */

import { malformed, Malformed, WIRE_OK, wireStatusText, type WireStatus } from './wire-error.ts';

// Slots of TickWire.tick. u64: hi word, the lo word follows. Text: start, the length follows.
export const TICK_NUMBER = 0;
export const TICK_BATCH_HASH = 6;
export const TICK_TIMESTAMP = 8;
export const TICK_PREVIOUS_OUTPUT = 10;
export const PROOF_INPUT = 12;
export const PROOF_OUTPUT = 14;
export const PROOF_PROOF = 16;
export const PROOF_ITERATIONS = 18;
const TICK_WORDS = 20;

// Slots of TickWire.transaction.
export const ORDERED_SEQUENCE = 2;
export const ORDERED_HASH = 4;
export const ORDERED_INGESTION = 6;
export const TRANSACTION_ID = 8;
export const TRANSACTION_PAYLOAD = 10;
export const TRANSACTION_SIGNATURE = 12;
export const TRANSACTION_PUBLIC_KEY = 14;
export const TRANSACTION_NONCE = 16;
export const TRANSACTION_TIMESTAMP = 18;
const TRANSACTION_WORDS = 20;

// What a field number means in a message. Field n of a message that starts at slot b has the slots b + 2(n − 1) and
// the one after it, so that no table of positions is needed.
const UNKNOWN = 0;
const U64 = 1;
const RUN = 2;
const REPEATED = 3;
const PROOF = 4;
const TRANSACTION = 5;
/** one more than the highest field number that a message of ours uses */
const FIELDS = 7;

const SCAN_FIELDS = Uint8Array.of(UNKNOWN, U64, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN);
const TICK_FIELDS = Uint8Array.of(UNKNOWN, U64, PROOF, REPEATED, RUN, U64, RUN);
const PROOF_FIELDS = Uint8Array.of(UNKNOWN, RUN, RUN, RUN, U64, UNKNOWN, UNKNOWN);
const ORDERED_FIELDS = Uint8Array.of(UNKNOWN, TRANSACTION, U64, RUN, U64, UNKNOWN, UNKNOWN);
const ANSWER_FIELDS = Uint8Array.of(UNKNOWN, REPEATED, U64, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN);
const TRANSACTION_FIELDS = Uint8Array.of(UNKNOWN, RUN, RUN, RUN, RUN, U64, U64);

/** official implementations stop at this depth too */
const GROUP_DEPTH_MAX = 100;
const groupStack = new Uint32Array(GROUP_DEPTH_MAX);

/** Where the last tag of more than one byte began; that of a short one is one before its end. */
let longTagAt = 0;

/** The varint read last, [hi, lo]: a function returns one number, and that is the position after it. */
const varint = new Uint32Array(2);

/** (start, length) of each message of a repeated field; its memory is at most 8 × the largest frame seen. */
class RunList {
  words = new Uint32Array(64);
  count = 0;

  add(start: number, length: number): void {
    const at = this.count * 2;
    if (at === this.words.length) {
      const larger = new Uint32Array(at * 2);
      larger.set(this.words);
      this.words = larger;
    }
    this.words[at] = start;
    this.words[at + 1] = length;
    this.count += 1;
  }
}

const noRuns = new RunList();

/** Position after the varint at `pos`, its value in `varint`; −WireStatus when it is malformed. */
function readVarint(bytes: Uint8Array, pos: number, end: number): number {
  let at = pos;
  let lo = 0;
  for (let shift = 0; shift < 28; shift += 7) {
    if (at >= end) return malformed(Malformed.endInVarint, pos);
    const byte = bytes[at++];
    lo |= (byte & 0x7f) << shift;
    if (byte < 0x80) {
      varint[0] = 0;
      varint[1] = lo;
      return at;
    }
  }
  if (at >= end) return malformed(Malformed.endInVarint, pos);
  let byte = bytes[at++];
  varint[1] = lo | (byte << 28);
  let hi = (byte & 0x7f) >>> 4;
  for (let shift = 3; byte >= 0x80; shift += 7) {
    if (at >= end) return malformed(Malformed.endInVarint, pos);
    byte = bytes[at++];
    if (shift === 31 && byte > 1) return malformed(Malformed.longVarint, pos);
    hi |= (byte & 0x7f) << shift;
  }
  varint[0] = hi;
  return at;
}

/** Position after a group whose start tag, read already, stands at `tagAt`. */
function skipGroup(bytes: Uint8Array, pos: number, end: number, field: number, tagAt: number): number {
  let depth = 1;
  groupStack[0] = field;
  let at = pos;
  while (depth > 0) {
    if (at >= end) return malformed(Malformed.endInGroup, tagAt);
    const start = at;
    at = readVarint(bytes, at, end);
    if (at < 0) return at;
    const tag = varint[1];
    if (varint[0] !== 0 || tag < 8) return malformed(Malformed.fieldNumber, start);
    const type = tag & 7;
    if (type === 3) {
      if (depth === GROUP_DEPTH_MAX) return malformed(Malformed.groupTooDeep, start);
      groupStack[depth++] = tag >>> 3;
    } else if (type === 4) {
      if (groupStack[--depth] !== tag >>> 3) return malformed(Malformed.otherGroup, start);
    } else {
      at = skipScalar(bytes, at, end, type, start);
      if (at < 0) return at;
    }
  }
  return at;
}

function skipScalar(bytes: Uint8Array, pos: number, end: number, type: number, tagAt: number): number {
  let at = pos;
  if (type === 0) return readVarint(bytes, pos, end);
  if (type === 1) at += 8;
  else if (type === 5) at += 4;
  else if (type === 2) {
    at = readVarint(bytes, pos, end);
    if (at < 0) return at;
    if (varint[0] !== 0 || varint[1] > end - at)
      return malformed(Malformed.length, pos, varint[0], varint[1]);
    return at + varint[1];
  } else return malformed(Malformed.wireType, tagAt, 0, type);
  return at > end ? malformed(Malformed.endInField, tagAt) : at;
}

/** Position after a field that is no varint and not delimited; its tag ends at `pos`. */
function skipUnusual(bytes: Uint8Array, pos: number, end: number, tag: number): number {
  const type = tag & 7;
  const tagAt = bytes[pos - 1] === tag ? pos - 1 : longTagAt;
  if (type === 3) return skipGroup(bytes, pos, end, tag >>> 3, tagAt);
  if (type === 4) return malformed(Malformed.groupNotBegun, tagAt);
  return skipScalar(bytes, pos, end, type, tagAt);
}

/** A length that ends at `pos` is too large. It follows a tag, whose last byte does not continue. */
function tooLong(bytes: Uint8Array, pos: number, hi: number, lo: number): WireStatus {
  let at = pos - 1;
  while (bytes[at - 1] >= 0x80) at -= 1;
  return -malformed(Malformed.length, at, hi, lo);
}

/**
 * Walks the fields of one message and writes the known ones to `out` from slot `base` on. The scan and the decoder
 * are this one function, so they cannot disagree about what is well formed. Its depth is that of the proto: 2.
 */
function readFields(
  bytes: Uint8Array,
  start: number,
  end: number,
  fields: Uint8Array,
  out: Uint32Array,
  base: number,
  runs: RunList,
): WireStatus {
  let pos = start;
  while (pos < end) {
    let tag = bytes[pos];
    if (tag < 0x80) pos += 1;
    else {
      longTagAt = pos;
      pos = readVarint(bytes, pos, end);
      if (pos < 0) return -pos;
      if (varint[0] !== 0 || varint[1] < 8) return -malformed(Malformed.fieldNumber, longTagAt);
      tag = varint[1];
    }
    const field = tag >>> 3;
    if (field === 0) return -malformed(Malformed.fieldNumber, pos - 1);
    const kind = field < FIELDS ? fields[field] : UNKNOWN;
    const slot = base + 2 * field - 2;
    const type = tag & 7;
    if (type === 2) {
      let length = pos < end ? bytes[pos] : 0x80;
      if (length < 0x80) pos += 1;
      else {
        pos = readVarint(bytes, pos, end);
        if (pos < 0) return -pos;
        if (varint[0] !== 0) return tooLong(bytes, pos, varint[0], varint[1]);
        length = varint[1];
      }
      if (length > end - pos) return tooLong(bytes, pos, 0, length);
      if (kind === RUN) {
        out[slot] = pos;
        out[slot + 1] = length;
      } else if (kind === REPEATED) runs.add(pos, length);
      else if (kind >= PROOF) {
        const inner = kind === PROOF ? PROOF_FIELDS : TRANSACTION_FIELDS;
        const innerBase = kind === PROOF ? PROOF_INPUT : TRANSACTION_ID;
        const status = readFields(bytes, pos, pos + length, inner, out, innerBase, runs);
        if (status !== WIRE_OK) return status;
      }
      pos += length;
    } else if (type === 0) {
      pos = readVarint(bytes, pos, end);
      if (pos < 0) return -pos;
      if (kind === U64) {
        out[slot] = varint[0];
        out[slot + 1] = varint[1];
      }
    } else {
      pos = skipUnusual(bytes, pos, end, tag);
      if (pos < 0) return -pos;
    }
  }
  return WIRE_OK;
}

/**
 * Finds tick_number (0 when the field is absent) in bytes[start, end) and checks the top level of the frame; what
 * lies inside vdf_proof and transactions is not looked at.
 * @param out [hi, lo] of the number; undefined unless 0 is returned
 */
export function scanTickNumber(bytes: Uint8Array, start: number, end: number, out: Uint32Array): WireStatus {
  out[0] = 0;
  out[1] = 0;
  return readFields(bytes, start, end, SCAN_FIELDS, out, 0, noRuns);
}

/**
 * The bytes of the tick in a GetTickResponse, undecoded; null when it says found = false.
 * @throws RangeError when the answer is malformed or has no tick although it says that there is one
 */
export function tickOfAnswer(answer: Uint8Array): Uint8Array | null {
  const out = new Uint32Array(4);
  const runs = new RunList();
  const status = readFields(answer, 0, answer.length, ANSWER_FIELDS, out, 0, runs);
  if (status !== WIRE_OK)
    throw new RangeError(`the answer to GetTick is malformed: ${wireStatusText(status)}`);
  if (out[2] === 0 && out[3] === 0) return null;
  if (runs.count === 0) throw new RangeError('the answer to GetTick says found and has no tick');
  const parts = Array.from({ length: runs.count }, (_, at) =>
    answer.subarray(runs.words[2 * at], runs.words[2 * at] + runs.words[2 * at + 1]),
  );
  // embedded messages that repeat are merged, which is what joining their bytes does
  return parts.length === 1 ? parts[0] : Buffer.concat(parts);
}

/** The slots of one tick, and of one of its transactions at a time. An instance is used for many frames. */
export class TickWire {
  /** slots TICK_… and PROOF_… after readTick */
  readonly tick = new Uint32Array(TICK_WORDS);
  /** slots ORDERED_… and TRANSACTION_… after readTransaction */
  readonly transaction = new Uint32Array(TRANSACTION_WORDS);
  readonly #runs = new RunList();

  /** how many transactions the tick that was read last has */
  get transactionCount(): number {
    return this.#runs.count;
  }

  /** Reads everything but the inside of the transactions. */
  readTick(bytes: Uint8Array, start: number, end: number): WireStatus {
    const tick = this.tick;
    for (let i = 0; i < TICK_WORDS; i++) tick[i] = 0;
    this.#runs.count = 0;
    return readFields(bytes, start, end, TICK_FIELDS, tick, 0, this.#runs);
  }

  /** Reads transaction `i`, counted from 0, of the tick that was read last from the same bytes. */
  readTransaction(bytes: Uint8Array, i: number): WireStatus {
    const transaction = this.transaction;
    for (let w = 0; w < TRANSACTION_WORDS; w++) transaction[w] = 0;
    const start = this.#runs.words[2 * i];
    const end = start + this.#runs.words[2 * i + 1];
    return readFields(bytes, start, end, ORDERED_FIELDS, transaction, 0, noRuns);
  }
}
