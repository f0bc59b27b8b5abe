import { createHash } from 'node:crypto';
import { decodeTick } from '../../core/chain/decode.ts';
import { compareTicks, fieldsText, type TickComparison } from '../../core/chain/digest.ts';
import type { Tick } from '../../core/chain/tick.ts';
import { WireError } from '../../core/chain/wire-error.ts';
import { transcodeFrame, type TickRows } from '../../core/copy/frame.ts';
import type { TranscodeLimits } from '../../core/copy/transcode.ts';
import type { Counterpart, RepeatedDeadLetter } from '../../store/chain/counterparts.ts';

/** A numbered frame beside what is stored. */
export interface NumberedFrame {
  number: bigint;
  bytes: Uint8Array;
}

/**
 * What a frame is whose number was received before (spec P1, P5). Only a good frame says something about its tick: a bad
 * one is no conflict with a good one, whichever came first.
 */
export type Verdict =
  /** the same as the stored tick */
  | { kind: 'equal' }
  /** the same as a dead letter */
  | { kind: 'kept' }
  /** nothing of this number is wanted */
  | { kind: 'unwanted' }
  /** a good frame of a number that has only dead letters */
  | { kind: 'good'; rows: TickRows }
  /** it becomes a dead letter of its own */
  | { kind: 'bad' | 'conflict'; deadLetter: RepeatedDeadLetter };

const FIELDS_NAMED_MAX = 8;

/** @param counterpart undefined: the store has neither tick nor dead letter */
export function judge(
  frame: NumberedFrame,
  counterpart: Counterpart | undefined,
  limits: TranscodeLimits,
): Verdict {
  if (counterpart === undefined) return { kind: 'unwanted' };
  const { tick, deadLetters } = counterpart;
  const isKept = isAmong(frame.bytes, counterpart);
  if (tick === null) {
    // rules may depend on the clock and on configuration: what is kept is read again
    if (deadLetters.some(({ isOpen }) => isOpen)) return judgeContent(frame, isKept, limits);
    return { kind: isKept ? 'kept' : 'unwanted' };
  }
  if (isKept) return { kind: 'kept' };
  const comparison = compare(frame.bytes, tick);
  if (comparison?.isEqual === true) return { kind: 'equal' };
  const verdict = judgeContent(frame, false, limits);
  if (verdict.kind !== 'good' || comparison === null) return verdict;
  return { kind: 'conflict', deadLetter: conflict(frame, comparison) };
}

/** Whether these bytes are a dead letter already. */
export function isAmong(bytes: Uint8Array, { deadLetters }: Counterpart): boolean {
  if (deadLetters.length === 0) return false;
  const raw = createHash('sha256').update(bytes).digest();
  return deadLetters.some(({ sha256 }) => sha256.equals(raw));
}

/** The dead letter of a good frame that says something else than the stored tick. */
export function conflict(
  { number, bytes }: NumberedFrame,
  { received, stored, fields }: TickComparison,
): RepeatedDeadLetter {
  const differs = `differs in ${fieldsText(fields, FIELDS_NAMED_MAX)}`;
  const detail = `received ${received.toString('hex')}, stored ${stored.toString('hex')}; ${differs}`;
  return { ...deadLetter({ number, bytes }, 'conflict', detail), storedDigest: stored };
}

/** A dead letter that says nothing about what is stored. */
export function deadLetter(
  { number, bytes }: NumberedFrame,
  reason: string,
  detail: string,
  sqlstate: string | null = null,
): RepeatedDeadLetter {
  return { tickNumber: number, reason, detail, sqlstate, raw: bytes, storedDigest: null };
}

function judgeContent(frame: NumberedFrame, isKept: boolean, limits: TranscodeLimits): Verdict {
  const rows = transcodeFrame(frame.bytes, frame.number, limits);
  if (rows.kind === 'rows') return { kind: 'good', rows };
  return isKept ? { kind: 'kept' } : { kind: 'bad', deadLetter: deadLetter(frame, rows.reason, rows.detail) };
}

/** Null when the frame does not decode. */
function compare(bytes: Uint8Array, stored: Tick): TickComparison | null {
  try {
    return compareTicks(decodeTick(bytes), stored);
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    return null;
  }
}
