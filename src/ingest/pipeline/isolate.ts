import { decodeTick } from '../../core/chain/decode.ts';
import { tickDigest } from '../../core/chain/digest.ts';
import type { IsolationReason, ParsedBatch } from '../parser/parse.ts';
import type { Refusal } from '../writer/refusal.ts';

/** A tick that the database does not accept; for the log. */
export interface IsolatedTick {
  tick: bigint;
  /** `stored`: the identical tick was already in the tables */
  reason: IsolationReason | 'stored';
  sqlstate: string;
  detail: string;
}

/** What replaces a refused tick's rows: a transaction that moves past it. */
export interface Isolated {
  parsed: ParsedBatch;
  /** see BatchWrite.present */
  present: { ticks: number; transactions: number };
  isolated: IsolatedTick;
}

/** A server message can contain a whole row; the remainder is in the server's log. */
const DETAIL_CHARS_MAX = 500;
const NO_ROWS = new Uint8Array(0);
const NOTHING: ParsedBatch = {
  ticks: 0,
  transactions: 0,
  deadLetters: [],
  lastTimestampMicros: 0n,
  alarms: [],
  linkBreaks: 0,
  boundary: 'none',
  copy: { ticks: NO_ROWS, proofs: NO_ROWS, transactions: NO_ROWS },
};

/**
 * A single tick was refused. It becomes a dead letter `refused_by_database`, unless the tables hold a tick of this
 * number that no ledger row covers (inserted by hand): the same tick counts as stored, a different one makes this one a
 * dead letter `conflict`.
 */
export function isolate(tick: bigint, raw: Uint8Array<ArrayBuffer>, refusal: Refusal): Isolated {
  const { sqlstate, message, stored } = refusal;
  const none = { ticks: 0, transactions: 0 };
  if (stored === null) {
    return deadLetter(tick, raw, 'refused_by_database', sqlstate, bounded(message), null, none);
  }
  const present = { ticks: 1, transactions: stored.transactions };
  const digest = tickDigest(decodeTick(raw));
  if (!digest.equals(stored.sha256)) {
    const detail = `sha256 ${digest.toString('hex')} is not that of the stored tick of this number`;
    return deadLetter(tick, raw, 'conflict', sqlstate, detail, stored.sha256, present);
  }
  const detail = 'the same tick was in the tables although the ledger did not have it';
  return { parsed: NOTHING, present, isolated: { tick, reason: 'stored', sqlstate, detail } };
}

function deadLetter(
  tick: bigint,
  raw: Uint8Array<ArrayBuffer>,
  reason: IsolationReason,
  sqlstate: string,
  detail: string,
  storedSha256: Uint8Array | null,
  present: Isolated['present'],
): Isolated {
  const deadLetter = { tickNumber: tick, afterTick: null, reason, detail, sqlstate, storedSha256, raw };
  return {
    parsed: { ...NOTHING, deadLetters: [deadLetter] },
    present,
    isolated: { tick, reason, sqlstate, detail },
  };
}

function bounded(text: string): string {
  return text.length <= DETAIL_CHARS_MAX ? text : `${text.slice(0, DETAIL_CHARS_MAX).toWellFormed()}…`;
}
