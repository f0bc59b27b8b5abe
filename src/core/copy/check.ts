import { isHex } from '../chain/hex.ts';
import { hiWord, joinWords, loWord, u64At } from '../chain/u64.ts';
import {
  ORDERED_HASH,
  ORDERED_INGESTION,
  ORDERED_SEQUENCE,
  PROOF_INPUT,
  PROOF_ITERATIONS,
  PROOF_OUTPUT,
  PROOF_PROOF,
  scanTickNumber,
  TICK_BATCH_HASH,
  TICK_PREVIOUS_OUTPUT,
  TICK_TIMESTAMP,
} from '../chain/wire.ts';
import { wireStatusText } from '../chain/wire-error.ts';
import { describeNonHex, type DeadLetterReason } from './dead-letter.ts';
import { SpanSource } from './source.ts';
import { isFrom2000To, isTimestamptz, latestTickMicros } from './types/timestamptz.ts';

const HASH_DIGITS = 64;
/** A u64 whose upper word is at least this does not fit in int8. */
export const INT64_HI_LIMIT = 0x8000_0000;

/**
 * Finds values set by the sequencer that the tables cannot hold; client values are not checked here. A check returns null
 * when all is well, else the reason, with a sentence in `detail`.
 */
export class TickCheck {
  detail = '';
  #source = new SpanSource(new Uint8Array(0));
  #latestHi = 0;
  #latestLo = 0;
  readonly #number = new Uint32Array(2);

  begin(source: SpanSource, nowMicros: bigint): void {
    const latest = latestTickMicros(nowMicros);
    this.#source = source;
    this.#latestHi = hiWord(latest);
    this.#latestLo = loWord(latest);
  }

  dead(reason: DeadLetterReason, detail: string): DeadLetterReason {
    this.detail = detail;
    return reason;
  }

  /**
   * The tick itself and its proof; the first fault in this order is reported.
   * @param linked previous_output equals an output that was checked with its own tick
   */
  tick(tick: Uint32Array, linked: boolean): DeadLetterReason | null {
    const timeHi = tick[TICK_TIMESTAMP];
    const timeLo = tick[TICK_TIMESTAMP + 1];
    if (!isFrom2000To(timeHi, timeLo, this.#latestHi, this.#latestLo)) {
      const micros = joinWords(timeHi, timeLo);
      return this.dead('time_out_of_range', `timestamp ${micros} us is outside 2000-01-01 to now + 1 day`);
    }
    if (tick[PROOF_ITERATIONS] >= INT64_HI_LIMIT) {
      return this.dead('iterations_out_of_range', above('vdf_proof.iterations', tick, PROOF_ITERATIONS));
    }
    if (tick[TICK_BATCH_HASH + 1] !== HASH_DIGITS || !this.#isHex(tick, TICK_BATCH_HASH)) {
      return this.#notHex('batch_hash_not_hex', 'transaction_batch_hash', tick, TICK_BATCH_HASH, HASH_DIGITS);
    }
    if (!linked && !this.#isHex(tick, TICK_PREVIOUS_OUTPUT)) {
      return this.#notHex('previous_output_not_hex', 'previous_output', tick, TICK_PREVIOUS_OUTPUT, null);
    }
    if (!this.#isHex(tick, PROOF_INPUT)) {
      return this.#notHex('input_not_hex', 'vdf_proof.input', tick, PROOF_INPUT, null);
    }
    if (!this.#isHex(tick, PROOF_OUTPUT)) {
      return this.#notHex('output_not_hex', 'vdf_proof.output', tick, PROOF_OUTPUT, null);
    }
    if (!this.#isHex(tick, PROOF_PROOF)) {
      return this.#notHex('proof_not_hex', 'vdf_proof.proof', tick, PROOF_PROOF, null);
    }
    return null;
  }

  /** Transaction `i` of the tick. */
  transaction(transaction: Uint32Array, i: number): DeadLetterReason | null {
    if (transaction[ORDERED_SEQUENCE] >= INT64_HI_LIMIT) {
      const detail = above(`transactions[${i}].sequence_number`, transaction, ORDERED_SEQUENCE);
      return this.dead('sequence_out_of_range', detail);
    }
    if (transaction[ORDERED_HASH + 1] !== HASH_DIGITS || !this.#isHex(transaction, ORDERED_HASH)) {
      return this.#notHex(
        'tx_hash_not_hex',
        `transactions[${i}].tx_hash`,
        transaction,
        ORDERED_HASH,
        HASH_DIGITS,
      );
    }
    if (!isTimestamptz(transaction[ORDERED_INGESTION], transaction[ORDERED_INGESTION + 1])) {
      const micros = u64At(transaction, ORDERED_INGESTION);
      const detail = `transactions[${i}].ingestion_timestamp ${micros} us is beyond what a timestamptz holds`;
      return this.dead('ingestion_time_out_of_range', detail);
    }
    return null;
  }

  /**
   * Why a frame has no usable number.
   * @throws Error when it does have one: the flag was wrong
   */
  unnumbered(start: number, end: number): DeadLetterReason {
    const number = this.#number;
    const status = scanTickNumber(this.#source.bytes, start, end, number);
    if (status !== 0) return this.dead('malformed_frame', wireStatusText(status));
    if (number[0] >= INT64_HI_LIMIT) return this.dead('number_out_of_range', above('tick_number', number, 0));
    throw new Error(`tick ${u64At(number, 0)} is flagged as a frame without a number`);
  }

  #isHex(slots: Uint32Array, slot: number): boolean {
    return isHex(this.#source.view, slots[slot], slots[slot + 1]);
  }

  #notHex(
    reason: DeadLetterReason,
    field: string,
    slots: Uint32Array,
    slot: number,
    digits: number | null,
  ): DeadLetterReason {
    return this.dead(reason, describeNonHex(field, this.#source.bytes, slots[slot], slots[slot + 1], digits));
  }
}

function above(field: string, slots: Uint32Array, slot: number): string {
  return `${field} ${u64At(slots, slot)} is above 2^63-1`;
}
