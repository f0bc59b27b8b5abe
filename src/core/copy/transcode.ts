import { sameHex } from '../chain/hex.ts';
import { joinWords, u64At } from '../chain/u64.ts';
import {
  ORDERED_SEQUENCE,
  PROOF_OUTPUT,
  scanTickNumber,
  TICK_NUMBER,
  TICK_PREVIOUS_OUTPUT,
  TICK_TIMESTAMP,
  TickWire,
} from '../chain/wire.ts';
import { wireStatusText } from '../chain/wire-error.ts';
import { INT64_HI_LIMIT, TickCheck } from './check.ts';
import { ChainCheck, type ChainAlarm, type ChainCheckMode } from './chain-check.ts';
import type { DeadLetter, DeadLetterReason } from './dead-letter.ts';
import { CopyMessages } from './message.ts';
import { writeProofRow, writeTickRow, writeTransactionRow } from './rows.ts';
import type { ByteSink } from './sink.ts';
import { SpanSource } from './source.ts';

export type { ChainAlarm, ChainAlarmKind, ChainCheckMode } from './chain-check.ts';
export type { DeadLetter, DeadLetterReason } from './dead-letter.ts';

/** Words of a frame's entry in FrameSpan.index: its offset, its length, its flags. */
export const INDEX_WORDS = 3;

/** Flag: the frame's number cannot be used; it is malformed or its number is above 2^63 − 1. */
export const FRAME_UNNUMBERED = 1;

/**
 * Frames in arrival order. The numbered ones are one contiguous range of ticks: the n-th of them, counted from 0, has
 * the number first + n.
 */
export interface FrameSpan {
  /** may lie in shared memory; must not change while it is read */
  bytes: Uint8Array;
  /** INDEX_WORDS words per frame */
  index: Uint32Array;
  /** frames, unnumbered ones included */
  count: number;
  /** upper and lower word of `first` */
  firstHi: number;
  firstLo: number;
}

/** One sink per table. Afterwards each holds CopyData messages and CopyDone, even if there were no rows. */
export interface TableSinks {
  ticks: ByteSink;
  proofs: ByteSink;
  transactions: ByteSink;
}

export interface TranscodeLimits {
  /** current time, µs since 1970: a tick more than a day ahead of it is refused */
  nowMicros: bigint;
  /** a longer frame is a dead letter */
  tickMaxBytes: number;
  /** CHAIN_CHECK; absent: link */
  check?: ChainCheckMode;
  /** hex digits of the output of the tick before the span's first one; absent or null when unknown */
  previousOutput?: Uint8Array | null;
}

export interface TranscodeResult {
  /** number of rows in `ticks`, and in `proofs` */
  ticks: number;
  transactions: number;
  deadLetters: DeadLetter[];
  /** timestamp of the last tick that has a row, µs since 1970; 0 when there is none */
  lastTimestampMicros: bigint;
  /** findings of the chain check in ticks that have a row; links only if the previous tick has a row in this span, too */
  alarms: ChainAlarm[];
  /** how many of them are of kind link */
  linkBreaks: number;
  /** whether the first tick continues `previousOutput`; `unknown` without one, `none` without a check or a row */
  boundary: Boundary;
}

export type Boundary = 'holds' | 'broken' | 'unknown' | 'none';

/** The state of one call. It is reused, so that a good tick allocates nothing. */
class Transcoder {
  readonly #wire = new TickWire();
  readonly #check = new TickCheck();
  readonly #number = new Uint32Array(2);
  readonly #ticks = new CopyMessages();
  readonly #proofs = new CopyMessages();
  readonly #transactions = new CopyMessages();
  #source = new SpanSource(new Uint8Array(0));
  /** the previous tick has a row; the next two fields locate its output */
  #previousGood = false;
  #previousOutput = 0;
  #previousOutputLength = 0;
  readonly #chain = new ChainCheck();
  #mode: ChainCheckMode = 'link';

  transcode(span: FrameSpan, sinks: TableSinks, limits: TranscodeLimits): TranscodeResult {
    const source = (this.#source = new SpanSource(span.bytes));
    this.#check.begin(source, limits.nowMicros);
    this.#previousGood = false;
    const mode = limits.check ?? 'link';
    this.#mode = mode;
    this.#chain.begin(source);
    this.#ticks.begin(sinks.ticks);
    this.#proofs.begin(sinks.proofs);
    this.#transactions.begin(sinks.transactions);

    const deadLetters: DeadLetter[] = [];
    let ticks = 0;
    let transactions = 0;
    let boundary: Boundary | null = mode === 'off' ? 'none' : null;
    let hi = span.firstHi;
    let lo = span.firstLo;
    let lastTimestampHi = 0;
    let lastTimestampLo = 0;
    for (let frame = 0; frame < span.count; frame++) {
      const offset = span.index[frame * INDEX_WORDS];
      const length = span.index[frame * INDEX_WORDS + 1];
      if (offset + length > source.bytes.length) throw new Error(`frame ${frame} lies outside its span`);
      if ((span.index[frame * INDEX_WORDS + 2] & FRAME_UNNUMBERED) !== 0) {
        const reason = this.#check.unnumbered(offset, offset + length);
        const next = joinWords(hi, lo);
        const afterTick = next === 0n ? null : next - 1n;
        deadLetters.push({ tickNumber: null, afterTick, reason, detail: this.#check.detail, offset, length });
        continue;
      }
      const reason = this.#tick(offset, length, hi, lo, limits.tickMaxBytes);
      if (reason === null) {
        ticks += 1;
        transactions += this.#wire.transactionCount;
        lastTimestampHi = this.#wire.tick[TICK_TIMESTAMP];
        lastTimestampLo = this.#wire.tick[TICK_TIMESTAMP + 1];
        boundary ??= this.#boundary(limits.previousOutput ?? null);
        if (mode === 'full') this.#chain.tick(this.#wire);
      } else {
        const tickNumber = joinWords(hi, lo);
        deadLetters.push({ tickNumber, afterTick: null, reason, detail: this.#check.detail, offset, length });
        boundary ??= 'none';
      }
      lo = (lo + 1) >>> 0;
      if (lo === 0) hi += 1;
    }

    this.#ticks.finish();
    this.#proofs.finish();
    this.#transactions.finish();
    const lastTimestampMicros = joinWords(lastTimestampHi, lastTimestampLo);
    const { alarms, linkBreaks } = this.#chain;
    return {
      ticks,
      transactions,
      deadLetters,
      lastTimestampMicros,
      alarms,
      linkBreaks,
      boundary: boundary ?? 'none',
    };
  }

  /** Writes the rows of a tick, or none and returns the reason. */
  #tick(
    offset: number,
    length: number,
    hi: number,
    lo: number,
    tickMaxBytes: number,
  ): DeadLetterReason | null {
    if (length > tickMaxBytes) {
      this.#expectNumber(offset, offset + length, hi, lo);
      return this.#bad('too_large', `the frame has ${length} bytes, above the limit of ${tickMaxBytes}`);
    }
    this.#source.touch(offset, length);
    const status = this.#wire.readTick(this.#source.bytes, offset, offset + length);
    if (status !== 0) {
      this.#expectNumber(offset, offset + length, hi, lo);
      return this.#bad('malformed_frame', `${wireStatusText(status)} (in vdf_proof)`);
    }
    const tick = this.#wire.tick;
    if (tick[TICK_NUMBER] !== hi || tick[TICK_NUMBER + 1] !== lo || hi >= INT64_HI_LIMIT)
      throw misplaced(hi, lo);
    const linked =
      this.#previousGood &&
      this.#source.equal(
        tick[TICK_PREVIOUS_OUTPUT],
        tick[TICK_PREVIOUS_OUTPUT + 1],
        this.#previousOutput,
        this.#previousOutputLength,
      );
    const reason = this.#check.tick(tick, linked) ?? this.#writeTick(tick, linked);
    if (reason !== null) {
      this.#previousGood = false;
      return reason;
    }
    if (!linked && this.#previousGood && this.#mode !== 'off')
      this.#chain.link(tick, this.#previousOutput, this.#previousOutputLength);
    this.#previousGood = true;
    this.#previousOutput = tick[PROOF_OUTPUT];
    this.#previousOutputLength = tick[PROOF_OUTPUT + 1];
    return null;
  }

  /** Writes all rows of a tick that passed its own checks; rolls back when one of its transactions fails. */
  #writeTick(tick: Uint32Array, linked: boolean): DeadLetterReason | null {
    this.#ticks.mark();
    this.#proofs.mark();
    this.#transactions.mark();
    writeTickRow(this.#ticks, this.#source, tick, linked);
    writeProofRow(this.#proofs, this.#source, tick);
    const reason = this.#writeTransactions(tick);
    if (reason !== null) {
      this.#ticks.rollback();
      this.#proofs.rollback();
      this.#transactions.rollback();
    }
    return reason;
  }

  #writeTransactions(tick: Uint32Array): DeadLetterReason | null {
    const wire = this.#wire;
    const transaction = wire.transaction;
    const count = wire.transactionCount;
    let rising = true;
    let lastHi = -1;
    let lastLo = 0;
    for (let i = 0; i < count; i++) {
      const status = wire.readTransaction(this.#source.bytes, i);
      if (status !== 0)
        return this.#bad('malformed_frame', `${wireStatusText(status)} (in transactions[${i}])`);
      const reason = this.#check.transaction(transaction, i);
      if (reason !== null) return reason;
      const hi = transaction[ORDERED_SEQUENCE];
      const lo = transaction[ORDERED_SEQUENCE + 1];
      rising = rising && (hi > lastHi || (hi === lastHi && lo > lastLo));
      lastHi = hi;
      lastLo = lo;
      writeTransactionRow(this.#transactions, this.#source, tick, transaction);
    }
    return rising ? null : this.#findDuplicate(count);
  }

  /** Non-ascending sequence numbers are rare and may still be unique: re-reads the transactions to find a duplicate. */
  #findDuplicate(count: number): DeadLetterReason | null {
    const { transaction } = this.#wire;
    const seen = new Map<bigint, number>();
    for (let i = 0; i < count; i++) {
      this.#wire.readTransaction(this.#source.bytes, i);
      const sequence = u64At(transaction, ORDERED_SEQUENCE);
      const first = seen.get(sequence);
      if (first !== undefined) {
        const detail = `sequence_number ${sequence} stands in transactions[${first}] and transactions[${i}]`;
        return this.#check.dead('duplicate_sequence', detail);
      }
      seen.set(sequence, i);
    }
    return null;
  }

  /** The boundary of the span's first tick, which was just read. */
  #boundary(previousOutput: Uint8Array | null): Boundary {
    if (previousOutput === null) return 'unknown';
    const { tick } = this.#wire;
    const same = sameHex(
      this.#source.bytes,
      tick[TICK_PREVIOUS_OUTPUT],
      tick[TICK_PREVIOUS_OUTPUT + 1],
      0,
      previousOutput.length,
      previousOutput,
    );
    if (same) return 'holds';
    if (this.#mode === 'full') this.#chain.brokenBefore(previousOutput);
    return 'broken';
  }

  #bad(reason: DeadLetterReason, detail: string): DeadLetterReason {
    this.#previousGood = false;
    return this.#check.dead(reason, detail);
  }

  #expectNumber(start: number, end: number, hi: number, lo: number): void {
    const number = this.#number;
    const status = scanTickNumber(this.#source.bytes, start, end, number);
    if (status !== 0 || number[0] !== hi || number[1] !== lo || hi >= INT64_HI_LIMIT) throw misplaced(hi, lo);
  }
}

function misplaced(hi: number, lo: number): Error {
  return new Error(`a frame is not tick ${joinWords(hi, lo)}, as its place in the span says`);
}

const transcoder = new Transcoder();

/**
 * Turns the frames of a span into binary COPY for the three chain tables. A tick is in all three sinks or in none.
 * @throws Error when the span is inconsistent (a frame's number does not fit its position, or it lies outside): a broken
 *   invariant of the caller; the sinks are unusable then
 */
export function transcode(span: FrameSpan, sinks: TableSinks, limits: TranscodeLimits): TranscodeResult {
  return transcoder.transcode(span, sinks, limits);
}
