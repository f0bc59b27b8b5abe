import { INT64_MAX } from '../chain/tick.ts';
import { u64At } from '../chain/u64.ts';
import { scanTickNumber } from '../chain/wire.ts';
import { wireStatusText } from '../chain/wire-error.ts';
import { ByteSink } from './sink.ts';
import {
  INDEX_WORDS,
  transcode,
  type ChainAlarm,
  type DeadLetterReason,
  type TranscodeLimits,
} from './transcode.ts';

/** A tick's rows as binary COPY. */
export type TickRows = Extract<FrameRows, { kind: 'rows' }>;

/** A single frame: the rows of its tick, or why it has none. */
export type FrameRows =
  | {
      kind: 'rows';
      number: bigint;
      transactions: number;
      /** CopyData … CopyDone per table; previous_output is never null here */
      copy: { ticks: Uint8Array; proofs: Uint8Array; transactions: Uint8Array };
      /** what the tick says against itself; none with check `link`, as no other tick is at hand */
      alarms: ChainAlarm[];
    }
  | { kind: 'bad'; reason: DeadLetterReason | 'other_number'; detail: string };

/**
 * Parses a raw frame outside any span, by the same rules as for arriving ticks.
 * @param expected the number it must have; null for any
 */
export function transcodeFrame(raw: Uint8Array, expected: bigint | null, limits: TranscodeLimits): FrameRows {
  const words = new Uint32Array(2);
  const status = scanTickNumber(raw, 0, raw.length, words);
  if (status !== 0) return { kind: 'bad', reason: 'malformed_frame', detail: wireStatusText(status) };
  const number = u64At(words, 0);
  if (number > INT64_MAX) {
    return { kind: 'bad', reason: 'number_out_of_range', detail: `tick_number ${number} is above 2^63-1` };
  }
  if (expected !== null && number !== expected) {
    const detail = `the frame says tick ${number} and was kept as tick ${expected}`;
    return { kind: 'bad', reason: 'other_number', detail };
  }
  const index = new Uint32Array(INDEX_WORDS);
  index[1] = raw.length;
  const span = { bytes: raw, index, count: 1, firstHi: words[0], firstLo: words[1] };
  const sinks = { ticks: new ByteSink(), proofs: new ByteSink(), transactions: new ByteSink() };
  const { deadLetters, transactions, alarms } = transcode(span, sinks, limits);
  const bad = deadLetters[0];
  if (bad !== undefined) return { kind: 'bad', reason: bad.reason, detail: bad.detail };
  const copy = {
    ticks: sinks.ticks.release(),
    proofs: sinks.proofs.release(),
    transactions: sinks.transactions.release(),
  };
  return { kind: 'rows', number, transactions, copy, alarms };
}
