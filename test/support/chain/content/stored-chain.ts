import assert from 'node:assert/strict';
import type { Client } from 'pg';
import { ByteSink } from '../../../../src/core/copy/sink.ts';
import { FRAME_UNNUMBERED, INDEX_WORDS, transcode } from '../../../../src/core/copy/transcode.ts';
import type { TickRange } from '../../../../src/core/ingest/ranges.ts';
import { writeBatch } from '../../../../src/store/chain/batch.ts';

/** Of the batches that a test writes without a daemon. */
export const TEST_EPOCH = 1n;

const NOW_MICROS = BigInt(Date.parse('2026-01-01T00:00:00Z')) * 1000n;
const TICK_MAX_BYTES = 4 * 2 ** 20;

export interface StoredFrame {
  raw: Uint8Array;
  /** its number cannot be used */
  unnumbered?: boolean;
}

/** A store as after its first tick was announced. */
export async function beginChain(client: Client, origin: bigint): Promise<void> {
  await client.query('INSERT INTO ingest_state (chain_id, origin, epoch) VALUES ($1, $2, $3)', [
    'continuum',
    origin.toString(),
    TEST_EPOCH.toString(),
  ]);
}

/**
 * Writes frames as one batch, as the daemon would: the numbered ones are the ticks from `first` on. What is bad becomes
 * a dead letter.
 */
export async function storeFrames(
  client: Client,
  first: bigint,
  frames: readonly StoredFrame[],
  options: { gaps?: readonly TickRange[]; fills?: boolean; tickMaxBytes?: number } = {},
): Promise<void> {
  const bytes = Buffer.concat(frames.map(({ raw }) => raw));
  const index = new Uint32Array(frames.length * INDEX_WORDS);
  let offset = 0;
  frames.forEach(({ raw, unnumbered }, at) => {
    index.set([offset, raw.length, unnumbered === true ? FRAME_UNNUMBERED : 0], at * INDEX_WORDS);
    offset += raw.length;
  });
  const sinks = { ticks: new ByteSink(), proofs: new ByteSink(), transactions: new ByteSink() };
  const span = {
    bytes,
    index,
    count: frames.length,
    firstHi: Number(first >> 32n),
    firstLo: Number(first & 0xffff_ffffn),
  };
  const limits = { nowMicros: NOW_MICROS, tickMaxBytes: options.tickMaxBytes ?? TICK_MAX_BYTES };
  const result = transcode(span, sinks, limits);
  const numbered = BigInt(frames.filter(({ unnumbered }) => unnumbered !== true).length);
  const range = numbered === 0n ? null : { first, last: first + numbered - 1n };
  await writeBatch(
    client,
    {
      epoch: TEST_EPOCH,
      range,
      ticks: result.ticks,
      transactions: result.transactions,
      present: { ticks: 0, transactions: 0 },
      alarms: [],
      checkLinks: false,
      gaps: options.gaps ?? [],
      fills: options.fills ?? false,
      deadLetters: result.deadLetters.map(({ offset: at, length, ...letter }) => ({
        ...letter,
        sqlstate: null,
        storedSha256: null,
        raw: bytes.subarray(at, at + length),
      })),
      copy: {
        ticks: sinks.ticks.release(),
        proofs: sinks.proofs.release(),
        transactions: sinks.transactions.release(),
      },
    },
    true,
  );
  assert.ok(
    result.ticks + result.deadLetters.length === frames.length,
    'each frame is a tick or a dead letter',
  );
}
