import { firstNonHex } from '../chain/hex.ts';

/** Why a frame is not in the tables. Only values set by the sequencer can make a tick a dead letter. */
export type DeadLetterReason =
  | 'malformed_frame'
  | 'number_out_of_range'
  | 'iterations_out_of_range'
  | 'sequence_out_of_range'
  | 'time_out_of_range'
  | 'ingestion_time_out_of_range'
  | 'batch_hash_not_hex'
  | 'tx_hash_not_hex'
  | 'previous_output_not_hex'
  | 'input_not_hex'
  | 'output_not_hex'
  | 'proof_not_hex'
  | 'duplicate_sequence'
  | 'too_large';

/** A frame kept raw outside the tables. */
export interface DeadLetter {
  /** null when the frame's number cannot be used */
  tickNumber: bigint | null;
  /**
   * For a frame without a usable number: the number of the tick it followed, which is first − 1 at the start of the span;
   * null when that would be below 0, and for a frame that has a number.
   */
  afterTick: bigint | null;
  reason: DeadLetterReason;
  /** one ASCII sentence: the field and the shape of its value, never the content of a text */
  detail: string;
  /** position of the raw frame in the span's bytes */
  offset: number;
  length: number;
}

/** One sentence about a text that is not hex. `digits`: the required length, or null for any even one. */
export function describeNonHex(
  field: string,
  bytes: Uint8Array,
  start: number,
  length: number,
  digits: number | null,
): string {
  const at = firstNonHex(bytes, start, length);
  if (at >= 0) {
    const byte = bytes[start + at].toString(16).padStart(2, '0');
    return `${field} (${length} bytes) has the byte 0x${byte} at ${at}, which is no hex digit`;
  }
  if (digits !== null) return `${field} has ${length} hex digits instead of ${digits}`;
  return `${field} has ${length} hex digits, an odd number, which is no whole number of bytes`;
}
