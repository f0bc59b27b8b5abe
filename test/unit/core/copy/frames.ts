/**
 * Frames for the tests of the hot path, by two ways that share no code with it: fields written by hand, and a decoder
 * and encoder by protobufjs. The proto is loaded with `bytes` for every `string`, so that no text is lost to U+FFFD.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadSync, type ServiceDefinition } from '@grpc/proto-loader';
import { FRAME_UNNUMBERED, INDEX_WORDS, type FrameSpan } from '../../../../src/core/copy/transcode.ts';

export interface OracleTransaction {
  tx_id: Buffer;
  payload: Buffer;
  signature: Buffer;
  public_key: Buffer;
  nonce: string;
  timestamp: string;
}

export interface OracleOrdered {
  transaction: OracleTransaction | null;
  sequence_number: string;
  tx_hash: Buffer;
  ingestion_timestamp: string;
}

export interface OracleTick {
  tick_number: string;
  vdf_proof: { input: Buffer; output: Buffer; proof: Buffer; iterations: string } | null;
  transactions: OracleOrdered[];
  transaction_batch_hash: Buffer;
  timestamp: string;
  previous_output: Buffer;
}

const streamTicks = loadOracle();

function loadOracle() {
  const proto = readFileSync(new URL('../../../../proto/continuum.proto', import.meta.url), 'utf8');
  const folder = mkdtempSync(join(tmpdir(), 'oracle-'));
  try {
    const file = join(folder, 'continuum.proto');
    writeFileSync(file, proto.replaceAll(/^( +)string /gm, '$1bytes '));
    const loaded = loadSync(file, { keepCase: true, longs: String, defaults: true });
    return (loaded['continuum.sequencer.v1.SequencerService'] as ServiceDefinition)['StreamTicks'];
  } finally {
    rmSync(folder, { recursive: true });
  }
}

export function oracleDecode(frame: Uint8Array): OracleTick {
  return streamTicks.responseDeserialize(Buffer.from(frame)) as OracleTick;
}

export function varint(value: bigint): Buffer {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 127n) {
    bytes.push(Number(rest & 127n) | 128);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return Buffer.from(bytes);
}

export function tag(field: number, type: number): Buffer {
  return varint(BigInt(field) * 8n + BigInt(type));
}

export function u64(field: number, value: bigint): Buffer {
  return Buffer.concat([tag(field, 0), varint(value)]);
}

/** a string, bytes or message field */
export function run(field: number, content: string | Uint8Array): Buffer {
  const bytes = Buffer.from(content as string);
  return Buffer.concat([tag(field, 2), varint(BigInt(bytes.length)), bytes]);
}

export function message(field: number, ...fields: Uint8Array[]): Buffer {
  return run(field, Buffer.concat(fields));
}

export const NOW_MICROS = 1_755_945_303_178_360n;
export const U64_MAX = 2n ** 64n - 1n;
export const INT64_MAX = 2n ** 63n - 1n;

export const LIMITS = { nowMicros: NOW_MICROS, tickMaxBytes: 64 * 1024 };

/** What a hand-made tick is made of. Everything is there and good unless a test says otherwise. */
export interface TickParts {
  number: bigint;
  timestamp: bigint;
  batchHash: string | Uint8Array;
  previousOutput: string | Uint8Array;
  input: string | Uint8Array;
  output: string | Uint8Array;
  proof: string | Uint8Array;
  iterations: bigint;
  transactions: Partial<TransactionParts>[];
}

export interface TransactionParts {
  txId: string | Uint8Array;
  payload: string | Uint8Array;
  signature: string | Uint8Array;
  publicKey: string | Uint8Array;
  nonce: bigint;
  timestamp: bigint;
  sequence: bigint;
  txHash: string | Uint8Array;
  ingestion: bigint;
}

/** 512 digits that are different for each number */
export function outputOf(number: bigint): string {
  return (number + 1n).toString(16).padStart(16, '0').repeat(32);
}

export function transactionField(parts: Partial<TransactionParts>): Buffer {
  const transaction = message(
    1,
    run(1, parts.txId ?? 'frm_order_1'),
    run(2, parts.payload ?? 'FRM_v1.0:{}'),
    run(3, parts.signature ?? Buffer.alloc(64, 7)),
    run(4, parts.publicKey ?? Buffer.alloc(32, 9)),
    u64(5, parts.nonce ?? 6_245_812n),
    u64(6, parts.timestamp ?? NOW_MICROS),
  );
  return message(
    3,
    transaction,
    u64(2, parts.sequence ?? 1n),
    run(3, parts.txHash ?? 'cd'.repeat(32)),
    u64(4, parts.ingestion ?? NOW_MICROS),
  );
}

export function tickFrame(number: bigint, parts: Partial<TickParts> = {}): Buffer {
  return Buffer.concat([
    u64(1, number),
    message(
      2,
      run(1, parts.input ?? 'ab'.repeat(32)),
      run(2, parts.output ?? outputOf(number)),
      run(3, parts.proof ?? '01'),
      u64(4, parts.iterations ?? 27n),
    ),
    ...(parts.transactions ?? []).map(transactionField),
    run(4, parts.batchHash ?? '0f'.repeat(32)),
    u64(5, parts.timestamp ?? NOW_MICROS),
    run(6, parts.previousOutput ?? outputOf(number - 1n)),
  ]);
}

/** A frame of a span under test; a Buffer alone has a number. */
export type SpanFrame = Uint8Array | { unnumbered: Uint8Array };

/** Frames in shared memory with some bytes of padding around each, so that a wrong offset does not go unseen. */
export function createSpan(first: bigint, frames: readonly SpanFrame[], shared = true): FrameSpan {
  const padding = 3;
  const raw = frames.map((frame) => ('unnumbered' in frame ? frame.unnumbered : frame));
  const size = raw.reduce((sum, frame) => sum + frame.length + padding, padding);
  const memory = shared ? new SharedArrayBuffer(size + 5) : new ArrayBuffer(size + 5);
  const bytes = new Uint8Array(memory, 5, size).fill(0xff);
  const index = new Uint32Array(frames.length * INDEX_WORDS);
  let offset = padding;
  frames.forEach((frame, i) => {
    bytes.set(raw[i], offset);
    index.set([offset, raw[i].length, 'unnumbered' in frame ? FRAME_UNNUMBERED : 0], i * INDEX_WORDS);
    offset += raw[i].length + padding;
  });
  return {
    bytes,
    index,
    count: frames.length,
    firstHi: Number(first >> 32n),
    firstLo: Number(first & 0xffff_ffffn),
  };
}
