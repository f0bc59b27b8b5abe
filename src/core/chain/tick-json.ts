import type { OrderedTransaction, Tick, Transaction, VdfProof } from './tick.ts';

/** `json` is indented, `compact` is one line. */
export type TickJsonFormat = 'json' | 'compact';

/**
 * A tick as proto3-JSON with the proto's own field names, every field present and in a fixed order; u64 as decimal
 * strings, bytes in base64. parseTickJson reads both forms back.
 *
 * JSON is text: a tx_id that is no UTF-8 shows U+FFFD where its bytes are none. Such a tick read back has another tx_id
 * and its tx_hash no longer fits; only the console shows this form, the store keeps the bytes.
 */
export function formatTick(tick: Tick, format: TickJsonFormat): string {
  const shape = {
    tick_number: String(tick.tickNumber),
    timestamp: String(tick.timestamp),
    previous_output: tick.previousOutput,
    transaction_batch_hash: tick.transactionBatchHash,
    vdf_proof: {
      input: tick.vdfProof.input,
      output: tick.vdfProof.output,
      proof: tick.vdfProof.proof,
      iterations: String(tick.vdfProof.iterations),
    },
    transactions: tick.transactions.map((ordered) => ({
      sequence_number: String(ordered.sequenceNumber),
      tx_hash: ordered.txHash,
      ingestion_timestamp: String(ordered.ingestionTimestamp),
      transaction: {
        tx_id: asBuffer(ordered.transaction.txId).toString('utf8'),
        payload: asBuffer(ordered.transaction.payload).toString('base64'),
        signature: asBuffer(ordered.transaction.signature).toString('base64'),
        public_key: asBuffer(ordered.transaction.publicKey).toString('base64'),
        nonce: String(ordered.transaction.nonce),
        timestamp: String(ordered.transaction.timestamp),
      },
    })),
  };
  return format === 'json' ? JSON.stringify(shape, null, 2) : JSON.stringify(shape);
}

/** A line that is no tick. */
export class TickJsonError extends Error {
  /** where in the tick, such as `transactions[1].transaction.nonce`; '' when the line is no JSON at all */
  readonly path: string;

  constructor(path: string, what: string) {
    super(path === '' ? what : `${path}: ${what}`);
    this.name = 'TickJsonError';
    this.path = path;
  }
}

/**
 * A tick from proto3-JSON. As that mapping says: names in the proto's form or in lowerCamelCase, u64 as strings or as
 * whole numbers (up to 2^53 − 1, above that JSON itself has lost digits), bytes in base64 of either alphabet, absent and
 * null mean the default. An unknown name is an error.
 * @throws TickJsonError with the path of the field, or with the position in the text when it is no JSON
 */
export function parseTickJson(text: string): Tick {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new TickJsonError('', `not JSON: ${(error as SyntaxError).message}`);
  }
  return tickFrom(new JsonMessage(value, ''));
}

function tickFrom(message: JsonMessage): Tick {
  const tick: Tick = {
    tickNumber: message.uint64('tick_number'),
    vdfProof: proofFrom(message.message('vdf_proof')),
    transactions: message.messages('transactions').map(orderedFrom),
    transactionBatchHash: message.string('transaction_batch_hash'),
    timestamp: message.uint64('timestamp'),
    previousOutput: message.string('previous_output'),
  };
  message.end();
  return tick;
}

function proofFrom(message: JsonMessage): VdfProof {
  const proof: VdfProof = {
    input: message.string('input'),
    output: message.string('output'),
    proof: message.string('proof'),
    iterations: message.uint64('iterations'),
  };
  message.end();
  return proof;
}

function orderedFrom(message: JsonMessage): OrderedTransaction {
  const ordered: OrderedTransaction = {
    transaction: transactionFrom(message.message('transaction')),
    sequenceNumber: message.uint64('sequence_number'),
    txHash: message.string('tx_hash'),
    ingestionTimestamp: message.uint64('ingestion_timestamp'),
  };
  message.end();
  return ordered;
}

function transactionFrom(message: JsonMessage): Transaction {
  const transaction: Transaction = {
    txId: Buffer.from(message.string('tx_id'), 'utf8'),
    payload: message.bytes('payload'),
    signature: message.bytes('signature'),
    publicKey: message.bytes('public_key'),
    nonce: message.uint64('nonce'),
    timestamp: message.uint64('timestamp'),
  };
  message.end();
  return transaction;
}

const DIGITS = /^(?:0|[1-9]\d{0,19})$/;
const U64_MAX = 0xffff_ffff_ffff_ffffn;
/** both alphabets; padding may be absent */
const BASE64 = /^(?:[A-Za-z0-9+/_-]{4})*(?:[A-Za-z0-9+/_-]{2}(?:==)?|[A-Za-z0-9+/_-]{3}=?)?$/;

/** One JSON object whose fields are taken by their proto names; a field that was not taken is an error at the end. */
class JsonMessage {
  readonly #fields: Map<string, unknown>;
  readonly #path: string;

  constructor(value: unknown, path: string) {
    if (value === null || typeof value !== 'object' || Array.isArray(value)) {
      throw new TickJsonError(path, `${describe(value)} where an object is expected`);
    }
    this.#fields = new Map(Object.entries(value));
    this.#path = path;
  }

  uint64(name: string): bigint {
    const value = this.#take(name) ?? '0';
    const whole = typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
    const digits = whole ? String(value) : value;
    if (typeof digits !== 'string' || !DIGITS.test(digits) || BigInt(digits) > U64_MAX) {
      throw this.#error(name, `${describe(value)} where a u64 is expected, as a string of decimal digits`);
    }
    return BigInt(digits);
  }

  string(name: string): string {
    const value = this.#take(name) ?? '';
    if (typeof value !== 'string') throw this.#error(name, `${describe(value)} where a string is expected`);
    return value;
  }

  bytes(name: string): Uint8Array {
    const text = this.string(name);
    if (!BASE64.test(text)) throw this.#error(name, `${describe(text)} where base64 is expected`);
    return Buffer.from(text, 'base64'); // Node's decoder takes both alphabets
  }

  message(name: string): JsonMessage {
    return new JsonMessage(this.#take(name) ?? {}, this.#pathOf(name));
  }

  messages(name: string): JsonMessage[] {
    const value = this.#take(name) ?? [];
    if (!Array.isArray(value)) throw this.#error(name, `${describe(value)} where an array is expected`);
    return value.map((item, index) => new JsonMessage(item, `${this.#pathOf(name)}[${index}]`));
  }

  end(): void {
    for (const name of this.#fields.keys()) throw this.#error(name, 'a field that the proto does not have');
  }

  #take(name: string): unknown {
    const camel = name.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
    const value = this.#fields.get(name) ?? this.#fields.get(camel);
    this.#fields.delete(name);
    this.#fields.delete(camel);
    return value;
  }

  #error(name: string, what: string): TickJsonError {
    return new TickJsonError(this.#pathOf(name), what);
  }

  #pathOf(name: string): string {
    return this.#path === '' ? name : `${this.#path}.${name}`;
  }
}

/** short enough for one line of an error message */
const SHOWN_CHARS_MAX = 40;

function describe(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > SHOWN_CHARS_MAX ? `${text.slice(0, SHOWN_CHARS_MAX)}…` : text;
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
