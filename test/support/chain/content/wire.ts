import {
  batchHashOf,
  txHashOf,
  vdfInputOf,
  vdfOutputOf,
  type ExpectedTick,
  type ExpectedTransaction,
} from './expected.ts';

/**
 * A tick as protobuf, by the table of fields in continuum.md: fields in their order, defaults left out. For the raw
 * bytes of dead letters; independent of the program's own encoder.
 */
export function wireTick(tick: ExpectedTick): Buffer {
  return Buffer.concat([
    number(1, tick.tickNumber),
    message(2, [text(1, tick.input), text(2, tick.output), text(3, tick.proof), number(4, tick.iterations)]),
    ...tick.transactions.map((transaction) => message(3, wireTransaction(transaction))),
    text(4, tick.batchHash),
    number(5, tick.timestamp),
    text(6, tick.previousOutput),
  ]);
}

function wireTransaction(transaction: ExpectedTransaction): Buffer[] {
  return [
    message(1, [
      bytes(1, transaction.txId),
      bytes(2, transaction.payload),
      bytes(3, transaction.signature),
      bytes(4, transaction.publicKey),
      number(5, transaction.nonce),
      number(6, transaction.timestamp),
    ]),
    number(2, transaction.sequenceNumber),
    text(3, transaction.txHash),
    number(4, transaction.ingestionTimestamp),
  ];
}

/** What sequencer-sim makes of a tick by --fault malformed:N:FORM; only ticks that have a transaction. */
export function malformed(tick: ExpectedTick, form: string): Buffer {
  const change = (changes: Partial<ExpectedTick>): Buffer => wireTick({ ...tick, ...changes });
  const [first, ...others] = tick.transactions;
  switch (form) {
    case 'truncated':
      return change({ transactions: [], batchHash: '', timestamp: 0n, previousOutput: '' }).subarray(0, -1);
    case 'wire-type':
      return Buffer.concat([Buffer.from([0x7f]), wireTick(tick)]);
    case 'batch-hash':
      return change({ batchHash: 'z'.repeat(64) });
    case 'tx-hash':
      return change({ transactions: [{ ...first, txHash: 'ab'.repeat(31) }, ...others] });
    case 'timestamp':
      return change({ timestamp: 253_402_300_799_000_000n });
    case 'number':
      return change({ tickNumber: tick.tickNumber | (2n ** 63n) });
    case 'iterations':
      return change({ iterations: 2n ** 63n });
    case 'sequence':
      return change({ transactions: [...tick.transactions, first] });
    case 'nul':
      return change({ batchHash: `${'0'.repeat(63)}\0` });
    case 'previous-output':
      return change({ previousOutput: `0x${tick.previousOutput.slice(2)}` });
    default:
      throw new Error(`no form ${form}`);
  }
}

/** What sequencer-sim makes of a tick by --fault rewrite:N: another transaction, everything true to the formulas. */
export function rewritten(tick: ExpectedTick): ExpectedTick {
  const timestamp = tick.timestamp + 1n;
  const parts = {
    txId: Buffer.from(`made_up_${tick.tickNumber}`),
    payload: Buffer.from('rewritten'),
    signature: Buffer.alloc(64, 1),
    publicKey: Buffer.alloc(32, 2),
    nonce: 1n,
    timestamp,
    sequenceNumber: 0n,
    ingestionTimestamp: timestamp,
  };
  const transactions = [{ ...parts, txHash: txHashOf(parts) }];
  const batchHash = batchHashOf(transactions);
  const input = vdfInputOf(tick.previousOutput, batchHash, tick.tickNumber);
  const output = vdfOutputOf(input, tick.iterations);
  return { ...tick, timestamp, transactions, batchHash, input, output };
}

function varint(value: bigint): Buffer {
  const out: number[] = [];
  let rest = value;
  for (; rest > 127n; rest >>= 7n) out.push(Number(rest & 127n) | 128);
  out.push(Number(rest));
  return Buffer.from(out);
}

function number(field: number, value: bigint): Buffer {
  return value === 0n ? Buffer.alloc(0) : Buffer.concat([varint(BigInt(field << 3)), varint(value)]);
}

function bytes(field: number, value: Buffer): Buffer {
  return value.length === 0 ? value : delimited(field, value);
}

function text(field: number, value: string): Buffer {
  return bytes(field, Buffer.from(value, 'utf8'));
}

/** also when it is empty: it is there */
function message(field: number, parts: readonly Buffer[]): Buffer {
  return delimited(field, Buffer.concat(parts));
}

function delimited(field: number, value: Buffer): Buffer {
  return Buffer.concat([varint(BigInt((field << 3) | 2)), varint(BigInt(value.length)), value]);
}
