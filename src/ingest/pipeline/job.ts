import type { SealedBatch } from '../reader/batch-builder.ts';
import type { Isolated } from './isolate.ts';
import type { ParsedBatch } from '../parser/parse.ts';
import { wholePart, type Part } from './batch-part.ts';
import type { Recorded } from './progress.ts';

/** A sealed batch on its way through the pipeline. */
export interface Job {
  batch: SealedBatch;
  /** what of it is not yet committed, in order; the fields below are about the first of them */
  parts: [Part, ...Part[]];
  /** null until parsed */
  parsed: ParsedBatch | null;
  /** in the place of a tick that the database refused */
  isolated: Isolated | null;
  /** the links at the ends of its range are to be compared with what is stored */
  checkLinks: boolean;
  writing: boolean;
  /** an attempt at it died with its writer */
  unknown: boolean;
  /** its dead letters are counted by the brake */
  isAdmitted: boolean;
}

const UNTOUCHED = { parsed: null, isolated: null, checkLinks: false, writing: false, unknown: false };

export function newJob(batch: SealedBatch): Job {
  return { batch, parts: [wholePart(batch)], isAdmitted: false, ...UNTOUCHED };
}

/** The first part has an outcome: nothing of it is kept. */
export function resetJob(job: Job): void {
  Object.assign(job, UNTOUCHED);
}

/**
 * Whether the batch's own transaction must compare the links at the ends of its range with what is stored. The parser
 * compared each tick with the one before it in the same part, and the first one with the tick before as the reader knew
 * it. The store is asked where nobody has compared: in gaps, where the tick before was not known or is another one (it
 * may not even be stored), and below what an earlier run has left. Such a batch waits for all earlier ones: of two
 * neighbours, the later one asks, and finds the other.
 */
export function needsLinkCheck({ batch, parts: [part] }: Job, parsed: ParsedBatch, run: Recorded): boolean {
  const { boundary, ticks } = parsed;
  if (ticks === 0) return false;
  if (batch.fills || boundary === 'broken' || run.wasAhead(part.first + BigInt(part.ticks))) return true;
  if (boundary !== 'unknown' || run.origin === null || part.first <= run.origin) return false;
  const before = part.first - 1n;
  return !part.gaps.some(({ first, last }) => first <= before && before <= last);
}
