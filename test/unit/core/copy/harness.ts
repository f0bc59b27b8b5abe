/** What the tests of `transcode` share: sinks that are used again, and an independent opinion of what must be in them. */
import assert from 'node:assert/strict';
import { isUtf8 } from 'node:buffer';
import { ByteSink } from '../../../../src/core/copy/sink.ts';
import { transcode, type FrameSpan, type TranscodeLimits } from '../../../../src/core/copy/transcode.ts';
import { createSpan, LIMITS, oracleDecode, type OracleTick, type SpanFrame } from './frames.ts';
import { tablesOf, type Tables } from './pgcopy.ts';

/** µs since 1970, as are all times here */
export const TIMESTAMPTZ_LAST = 9_223_371_331_199_999_999n + 946_684_800_000_000n;
export const YEAR_2000 = 946_684_800_000_000n;
export const DAY = 86_400_000_000n;

export function createSinks() {
  return { ticks: new ByteSink(), proofs: new ByteSink(), transactions: new ByteSink() };
}

export const sinks = createSinks();

/** Transcodes with sinks that every test of a file uses again, and reads back what is in them. */
export function read(span: FrameSpan, limits: TranscodeLimits = LIMITS) {
  const result = transcode(span, sinks, limits);
  const tables = tablesOf(sinks);
  assert.equal(tables.ticks.length, result.ticks);
  assert.equal(tables.proofs.length, result.ticks);
  assert.equal(tables.transactions.length, result.transactions);
  return { result, tables };
}

export function readFrames(first: bigint, frames: readonly SpanFrame[]) {
  return read(createSpan(first, frames));
}

/** The rows of good ticks, from what protobufjs makes of them and the rules of the schema. */
export function expectedTables(frames: readonly Uint8Array[]): Tables {
  const tables: Tables = { ticks: [], proofs: [], transactions: [] };
  let before: OracleTick | null = null;
  for (const frame of frames) {
    const tick = oracleDecode(frame);
    const number = BigInt(tick.tick_number);
    const linked =
      before !== null && tick.previous_output.equals(before.vdf_proof?.output ?? Buffer.alloc(0));
    tables.ticks.push({
      tick_number: number,
      timestamp: BigInt(tick.timestamp),
      batch_hash: tick.transaction_batch_hash.toString('latin1'),
      previous_output: linked ? null : tick.previous_output.toString('latin1'),
    });
    tables.proofs.push({
      tick_number: number,
      input: tick.vdf_proof?.input.toString('latin1') ?? '',
      output: tick.vdf_proof?.output.toString('latin1') ?? '',
      proof: tick.vdf_proof?.proof.toString('latin1') ?? '',
      iterations: BigInt(tick.vdf_proof?.iterations ?? 0),
    });
    for (const { transaction, ...ordered } of tick.transactions) {
      const id = transaction?.tx_id ?? Buffer.alloc(0);
      const idIsText = isUtf8(id) && !id.includes(0);
      const time = BigInt(transaction?.timestamp ?? 0);
      tables.transactions.push({
        tx_hash: ordered.tx_hash.toString('latin1'),
        tx_id: idIsText ? id.toString('utf8') : null,
        tick_number: number,
        sequence_number: BigInt(ordered.sequence_number),
        payload: transaction?.payload ?? Buffer.alloc(0),
        signature: transaction?.signature ?? Buffer.alloc(0),
        public_key: transaction?.public_key ?? Buffer.alloc(0),
        nonce: BigInt(transaction?.nonce ?? 0),
        timestamp: time <= TIMESTAMPTZ_LAST ? time : null,
        tick_timestamp: BigInt(tick.timestamp),
        ingestion_timestamp: BigInt(ordered.ingestion_timestamp),
        tx_id_raw: idIsText ? null : id,
        timestamp_us: time <= TIMESTAMPTZ_LAST ? null : time,
      });
    }
    before = tick;
  }
  return tables;
}
