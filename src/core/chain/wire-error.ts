import { joinWords } from './u64.ts';

/**
 * What makes bytes no protobuf message. The reader (wire.ts) returns a number, so that a frame from the network costs no
 * exception; where it stopped, and why exactly, is noted here for those who report it.
 */

/** 0 when the bytes are well formed, else one of the codes below. Text: `wireStatusText`. */
export type WireStatus = number;

export const WIRE_OK = 0;
const VARINT_TOO_LONG = 1;
const TRUNCATED = 2;
const BAD_FIELD_NUMBER = 3;
const BAD_WIRE_TYPE = 4;
const UNMATCHED_GROUP = 5;
const GROUP_TOO_DEEP = 6;

const STATUS_TEXTS = [
  'well formed',
  'a varint is longer than 64 bits',
  'a field runs beyond the end of its message',
  'a field number is 0 or above 2^29-1',
  'a wire type is 6 or 7',
  'the end of a group has no start',
  'groups are nested more than 100 deep',
];

export function wireStatusText(status: WireStatus): string {
  return STATUS_TEXTS[status] ?? `unknown wire status ${status}`;
}

/** What exactly is wrong: a status in the lowest three bits, and what tells apart the causes that share one. */
export const Malformed = {
  longVarint: VARINT_TOO_LONG,
  endInVarint: TRUNCATED,
  endInField: TRUNCATED + 8,
  endInGroup: TRUNCATED + 16,
  length: TRUNCATED + 24,
  fieldNumber: BAD_FIELD_NUMBER,
  wireType: BAD_WIRE_TYPE,
  groupNotBegun: UNMATCHED_GROUP,
  otherGroup: UNMATCHED_GROUP + 8,
  groupTooDeep: GROUP_TOO_DEEP,
} as const;
const STATUS_BITS = 7;

/** % stands for what the bytes say */
const CAUSE_TEXTS: Readonly<Record<number, string>> = {
  [Malformed.longVarint]: 'a varint of more than 64 bits',
  [Malformed.endInVarint]: 'the message ends inside a varint',
  [Malformed.endInField]: 'the message ends inside a field',
  [Malformed.endInGroup]: 'the message ends inside a group',
  [Malformed.length]: 'a length of % bytes runs beyond the end of its message',
  [Malformed.fieldNumber]: 'a field number that cannot be',
  [Malformed.wireType]: 'wire type %',
  [Malformed.groupNotBegun]: 'the end of a group that was not begun',
  [Malformed.otherGroup]: 'the end of another group',
  [Malformed.groupTooDeep]: 'groups nested too deep',
};

const last = { cause: 0, offset: 0, hi: 0, lo: 0 };

/**
 * Notes where and why the reader of this thread stopped.
 * @param cause one of Malformed
 * @param hi @param lo what the bytes say there: a length, or a wire type
 * @returns −WireStatus
 */
export function malformed(cause: number, offset: number, hi = 0, lo = 0): number {
  last.cause = cause;
  last.offset = offset;
  last.hi = hi;
  last.lo = lo;
  return -(cause & STATUS_BITS);
}

/** Bytes that are no protobuf message. */
export class WireError extends Error {
  /** byte offset at which the message is malformed */
  readonly offset: number;

  constructor(what: string, offset: number) {
    super(`${what} at byte ${offset}`);
    this.name = 'WireError';
    this.offset = offset;
  }
}

/** What the reader of this thread that stopped last has to say. */
export function wireError(): WireError {
  const what = CAUSE_TEXTS[last.cause].replace('%', () => String(joinWords(last.hi, last.lo)));
  return new WireError(what, last.offset);
}
