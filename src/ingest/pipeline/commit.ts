import type { ChainAlarm } from '../../core/copy/transcode.ts';
import type { TickRange } from '../../core/ingest/ranges.ts';
import type { BatchWrite } from '../../store/chain/batch.ts';
import type { IsolatedTick } from './isolate.ts';
import type { InFlightBatch } from './in-flight.ts';
import type { ParsedBatch } from '../parser/parse.ts';
import { rangeOf } from './batch-part.ts';
import type { Ring } from '../ring.ts';
import type { WriteOutcome } from '../writer/outcome.ts';

/** One transaction: a sealed batch, or a part of one that the database refused as a whole. */
export interface CommittedBatch {
  range: TickRange | null;
  ticks: number;
  transactions: number;
  deadLetters: number;
  /** numbers for which it has nothing but a dead letter */
  deadNumbers: readonly bigint[];
  /** its tick that the database does not accept; null nearly always */
  isolated: IsolatedTick | null;
  /** what the chain check found, apart from the ends of the range */
  alarms: readonly ChainAlarm[];
  /** ticks whose link to the previous tick is broken: those in `alarms`, and those at the ends of the range */
  linkBreaks: number;
  bytes: number;
  gaps: readonly TickRange[];
  fills: boolean;
  durationMs: number;
  ambiguous: number;
  resolved: boolean;
  /** stream → committed of a sample of its ticks, ms */
  latenciesMs: number[];
  /** timestamp of its last tick, µs since 1970 */
  lastTimestampMicros: bigint;
}

/** Further samples of a batch would cost more than they are worth. */
const SAMPLES_PER_BATCH = 32;

const NOTHING_PRESENT = { ticks: 0, transactions: 0 };

/** The transaction of the first part of a batch. */
export function batchWrite(inFlight: InFlightBatch, parsed: ParsedBatch, epoch: bigint): BatchWrite {
  const { batch, isolated, checkLinks } = inFlight;
  const [part] = inFlight.parts;
  return {
    epoch,
    range: rangeOf(part),
    ticks: parsed.ticks,
    transactions: parsed.transactions,
    present: isolated?.present ?? NOTHING_PRESENT,
    gaps: part.gaps,
    fills: batch.fills,
    deadLetters: parsed.deadLetters,
    alarms: parsed.alarms,
    checkLinks,
    copy: parsed.copy,
  };
}

/** What is reported about it afterwards. */
export function committedBatch(
  { isolated, lostCommits, parts: [part] }: InFlightBatch,
  parsed: ParsedBatch,
  write: BatchWrite,
  outcome: Extract<WriteOutcome, { kind: 'committed' }>,
  latenciesMs: number[],
): CommittedBatch {
  return {
    range: write.range,
    ticks: write.ticks,
    transactions: write.transactions,
    deadLetters: write.deadLetters.length,
    deadNumbers: write.deadLetters.flatMap(({ tickNumber, reason }) =>
      tickNumber === null || reason === 'conflict' ? [] : [tickNumber],
    ),
    isolated: isolated?.isolated ?? null,
    alarms: write.alarms,
    linkBreaks: parsed.linkBreaks + outcome.brokenLinks.length,
    bytes: part.bytes,
    gaps: write.gaps,
    fills: write.fills,
    durationMs: outcome.durationMs,
    ambiguous: outcome.ambiguous + lostCommits,
    resolved: outcome.resolved,
    latenciesMs,
    lastTimestampMicros: parsed.lastTimestampMicros,
  };
}

/**
 * Ages of the frames in the first part of a batch since the stream delivered them, ms; a sample spread evenly over the
 * part.
 */
export function sampleAges(ring: Ring, { batch, parts: [part] }: InFlightBatch, nowMs: number): number[] {
  const oldestMs = nowMs - batch.openedMs;
  if (batch.slab === null) return [oldestMs];
  const { arrivals } = ring.slab(batch.slab);
  const step = Math.max(1, Math.ceil(part.frames / SAMPLES_PER_BATCH));
  const ages: number[] = [];
  for (let frame = part.from; frame < part.from + part.frames; frame += step)
    ages.push(oldestMs - arrivals[frame] / 1000);
  return ages;
}
