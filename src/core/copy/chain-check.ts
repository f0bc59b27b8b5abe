import { hash } from 'node:crypto';
import { batchHash, vdfOutput } from '../chain/hash.ts';
import { sameHex } from '../chain/hex.ts';
import { u64At } from '../chain/u64.ts';
import {
  ORDERED_HASH,
  ORDERED_SEQUENCE,
  PROOF_INPUT,
  PROOF_ITERATIONS,
  PROOF_OUTPUT,
  TICK_BATCH_HASH,
  TICK_NUMBER,
  TICK_PREVIOUS_OUTPUT,
  TRANSACTION_ID,
  TRANSACTION_NONCE,
  TRANSACTION_PAYLOAD,
  TRANSACTION_PUBLIC_KEY,
  TRANSACTION_SIGNATURE,
  TRANSACTION_TIMESTAMP,
  type TickWire,
} from '../chain/wire.ts';
import { SpanSource } from './source.ts';

/** CHAIN_CHECK: nothing, the link to the previous tick, or also every hash and a sample of the VDF outputs. */
export type ChainCheckMode = 'off' | 'link' | 'full';

export type ChainAlarmKind = 'link' | 'tx_hash' | 'batch_hash' | 'vdf_input' | 'vdf_output';

/** A value stated by a tick that does not follow from its content. The tick is stored anyway. */
export interface ChainAlarm {
  tickNumber: bigint;
  kind: ChainAlarmKind;
  /** one ASCII sentence */
  detail: string;
}

/** The VDF output is recomputed for ticks whose number is a multiple of this: 1 %, the same ones in every run. */
const VDF_SAMPLE_EVERY = 100n;
/** Bounds the work a sender can cause in a parser, 1.6 ms per tick; above it only "tick-ingester verify" recomputes. */
const SAMPLED_ITERATIONS_MAX = 1024n;
const SHOWN_DIGITS = 16;
const EMPTY_BATCH = batchHash([]).toString('hex');

/** The chain formulas (core/chain/hash.ts) over the wire reader's slots, for ticks that have passed TickCheck. */
export class ChainCheck {
  alarms: ChainAlarm[] = [];
  linkBreaks = 0;
  #source = new SpanSource(new Uint8Array(0));
  #buffer: Buffer = Buffer.alloc(0);
  /** input of the current hash */
  #scratch = Buffer.alloc(16 * 1024);
  #length = 0;
  /** for a tick whose link is broken: the output of the previous tick */
  #before: string | null = null;

  begin(source: SpanSource): void {
    const { bytes } = source;
    this.#source = source;
    this.#buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.alarms = [];
    this.linkBreaks = 0;
    this.#before = null;
  }

  /**
   * previous_output differs, as text, from the output of the previous tick at outputStart. If they differ only in the
   * case of their digits, they are the same bytes: no break of the chain.
   */
  link(tick: Uint32Array, outputStart: number, outputLength: number): void {
    const { bytes } = this.#source;
    const start = tick[TICK_PREVIOUS_OUTPUT];
    const length = tick[TICK_PREVIOUS_OUTPUT + 1];
    if (sameHex(bytes, start, length, outputStart, outputLength)) return;
    this.linkBreaks += 1;
    this.#before = this.#digits(outputStart, outputLength);
    const detail = `previous_output is ${cut(this.#digits(start, length))}, the output of the tick before ${cut(this.#before)}`;
    this.#alarm(tick, 'link', detail);
  }

  /** The first tick of a span does not continue the previous one, which is not in the span; the caller reports it. */
  brokenBefore(output: Uint8Array): void {
    this.#before = Buffer.from(output).toString('latin1').toLowerCase();
  }

  /**
   * Checks tx_hash, batch_hash, vdf_input, and for a sample vdf_output. An alarm names the cause and not its
   * consequences: later hashes may follow either from the stated value or from the correct one.
   */
  tick(wire: TickWire): void {
    const { tick } = wire;
    const batches = this.#transactions(wire);
    const stated = this.#text(tick, TICK_BATCH_HASH);
    if (!batches.includes(stated)) {
      this.#differs(tick, 'batch_hash', stated, batches[0]);
      batches.unshift(stated);
    }
    const inputs = this.#inputs(tick, batches);
    const input = this.#text(tick, PROOF_INPUT);
    if (!inputs.includes(input)) {
      this.#differs(tick, 'vdf_input', input, inputs[0]);
      inputs.unshift(input);
    }
    this.#before = null;
    if (isSampled(tick)) this.#output(tick, inputs);
  }

  /** Checks each tx_hash. Returns the batch hash of the stated ones, and that of the correct ones if any is wrong. */
  #transactions(wire: TickWire): string[] {
    const { tick, transaction } = wire;
    const hashes: { sequence: bigint; stated: string; computed: string }[] = [];
    let areTrue = true;
    for (let i = 0; i < wire.transactionCount; i++) {
      wire.readTransaction(this.#source.bytes, i);
      this.#length = 0;
      for (const run of HASHED_RUNS) this.#put(transaction[run], transaction[run + 1]);
      this.#putWords(transaction, TRANSACTION_NONCE);
      this.#putWords(transaction, TRANSACTION_TIMESTAMP);
      const computed = this.#digest();
      const stated = this.#text(transaction, ORDERED_HASH);
      const sequence = u64At(transaction, ORDERED_SEQUENCE);
      hashes.push({ sequence, stated, computed });
      // one alarm per kind and tick
      if (stated !== computed && areTrue)
        this.#differs(tick, 'tx_hash', stated, computed, `transactions[${i}].`);
      areTrue &&= stated === computed;
    }
    if (hashes.some(({ sequence }, i) => i > 0 && sequence < hashes[i - 1].sequence))
      hashes.sort((a, b) => (a.sequence < b.sequence ? -1 : 1));
    const batches = [this.#digestOf(hashes.map(({ stated }) => stated))];
    if (!areTrue) batches.push(this.#digestOf(hashes.map(({ computed }) => computed)));
    return batches;
  }

  #inputs(tick: Uint32Array, batches: readonly string[]): string[] {
    const outputs = [this.#text(tick, TICK_PREVIOUS_OUTPUT)];
    if (this.#before !== null) outputs.push(this.#before);
    return outputs.flatMap((output) =>
      batches.map((batch) => {
        this.#length = 0;
        this.#putHex(output);
        this.#putHex(batch);
        this.#putWords(tick, TICK_NUMBER);
        return this.#digest();
      }),
    );
  }

  #output(tick: Uint32Array, inputs: readonly string[]): void {
    const iterations = u64At(tick, PROOF_ITERATIONS);
    if (iterations > SAMPLED_ITERATIONS_MAX) return;
    const stated = this.#text(tick, PROOF_OUTPUT);
    const outputs = inputs.map((input) => vdfOutput(Buffer.from(input, 'hex'), iterations).toString('hex'));
    if (!outputs.includes(stated)) this.#differs(tick, 'vdf_output', stated, outputs[0]);
  }

  #differs(tick: Uint32Array, kind: ChainAlarmKind, stated: string, computed: string, of = ''): void {
    this.#alarm(tick, kind, `${of}${kind} is ${cut(stated)}, computed ${cut(computed)}`);
  }

  #alarm(tick: Uint32Array, kind: ChainAlarmKind, detail: string): void {
    this.alarms.push({ tickNumber: u64At(tick, TICK_NUMBER), kind, detail });
  }

  /** sha256 of the scratch buffer as hex digits. */
  #digest(): string {
    return hash('sha256', this.#scratch.subarray(0, this.#length), 'hex');
  }

  #digestOf(hashes: readonly string[]): string {
    if (hashes.length === 0) return EMPTY_BATCH;
    this.#length = 0;
    for (const digits of hashes) this.#putHex(digits);
    return this.#digest();
  }

  #put(start: number, length: number): void {
    this.#reserve(length);
    this.#buffer.copy(this.#scratch, this.#length, start, start + length);
    this.#length += length;
  }

  #putHex(digits: string): void {
    this.#reserve(digits.length / 2);
    this.#length += this.#scratch.write(digits, this.#length, 'hex');
  }

  /** A u64, big-endian. */
  #putWords(slots: Uint32Array, slot: number): void {
    this.#reserve(8);
    this.#scratch.writeUInt32BE(slots[slot], this.#length);
    this.#scratch.writeUInt32BE(slots[slot + 1], this.#length + 4);
    this.#length += 8;
  }

  /** Grows the scratch buffer to the largest transaction seen: at most TICK_MAX_BYTES. */
  #reserve(count: number): void {
    if (this.#length + count <= this.#scratch.length) return;
    const larger = Buffer.alloc(Math.max(2 * this.#scratch.length, this.#length + count));
    this.#scratch.copy(larger, 0, 0, this.#length);
    this.#scratch = larger;
  }

  /** A hex text in lower case. */
  #text(slots: Uint32Array, slot: number): string {
    return this.#digits(slots[slot], slots[slot + 1]).toLowerCase();
  }

  #digits(start: number, length: number): string {
    return this.#buffer.toString('latin1', start, start + length);
  }
}

const HASHED_RUNS = [TRANSACTION_ID, TRANSACTION_PAYLOAD, TRANSACTION_SIGNATURE, TRANSACTION_PUBLIC_KEY];

/** Keeps the last digits, as outputs of the fast VDF start with zeros. */
function cut(digits: string): string {
  if (digits === '') return 'empty';
  return digits.length <= SHOWN_DIGITS
    ? digits
    : `...${digits.slice(-SHOWN_DIGITS)} (${digits.length} digits)`;
}

function isSampled(tick: Uint32Array): boolean {
  return u64At(tick, TICK_NUMBER) % VDF_SAMPLE_EVERY === 0n;
}
