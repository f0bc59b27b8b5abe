import type { ChainAlarm } from '../../core/copy/transcode.ts';
import type { TickRange } from '../../core/ingest/ranges.ts';
import type { BatchWrite } from '../../store/chain/batch.ts';
import type { IsolatedTick } from './isolate.ts';
import type { Job } from './job.ts';
import type { ParsedBatch } from '../parser/parse.ts';
import { rangeOf } from './batch-part.ts';
import type { WriteOutcome } from '../writer/batch-writer.ts';

/** One transaction: a sealed batch, or a part of one that the database refused as a whole. */
export interface CommittedBatch {
  range: TickRange | null;
  ticks: number;
  transactions: number;
  deadLetters: number;
  /** the tick of it that the database does not take; null nearly always */
  isolated: IsolatedTick | null;
  /** what the chain check found, but for the ends of the range */
  alarms: readonly ChainAlarm[];
  /** ticks whose link to the tick before is broken: those among `alarms`, and those at the ends of the range */
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

const NOTHING_PRESENT = { ticks: 0, transactions: 0 };

/** The transaction of a job's first part. */
export function batchWrite(job: Job, parsed: ParsedBatch, epoch: bigint): BatchWrite {
  const { batch, isolated, checkLinks } = job;
  const [part] = job.parts;
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

/** What is told of it afterwards. */
export function committedBatch(
  { isolated, parts: [part] }: Job,
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
    isolated: isolated?.isolated ?? null,
    alarms: write.alarms,
    linkBreaks: parsed.linkBreaks + outcome.brokenLinks.length,
    bytes: part.bytes,
    gaps: write.gaps,
    fills: write.fills,
    durationMs: outcome.durationMs,
    ambiguous: outcome.ambiguous,
    resolved: outcome.resolved,
    latenciesMs,
    lastTimestampMicros: parsed.lastTimestampMicros,
  };
}
