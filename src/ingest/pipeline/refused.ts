import { isolate, type Isolated } from './isolate.ts';
import type { Job } from './job.ts';
import { halves, rangeOf } from './batch-part.ts';
import type { Ring } from '../ring.ts';
import type { Refusal } from '../writer/batch-writer.ts';

/** A batch whose rows the database refuses, for the log. */
export interface RefusedBatch extends Record<string, unknown> {
  first_tick: bigint;
  last_tick: bigint | null;
  sqlstate: string;
  error: string;
}

/** Null when it is only a part of the batch that is refused. */
export function refusedBatch({ batch, parts: [part] }: Job, refusal: Refusal): RefusedBatch | null {
  if (part.frames !== batch.frames) return null;
  const { sqlstate, message: error } = refusal;
  return { first_tick: part.first, last_tick: rangeOf(part)?.last ?? null, sqlstate, error };
}

/** Halves take the place of a job's first part. False when it is a single frame. */
export function halve(job: Job, ring: Ring): boolean {
  const { slab } = job.batch;
  const [part, ...rest] = job.parts;
  if (slab === null || part.frames === 1) return false;
  job.parts = [...halves(part, ring.slab(slab).index), ...rest];
  return true;
}

/** A job's first part is a single frame: what stands for it takes its place, as if it had been parsed. */
export function isolateFrame(job: Job, refusal: Refusal, ring: Ring): Isolated {
  const { slab, side } = job.batch;
  const [part] = job.parts;
  const frame = slab === null ? side! : ring.copyFrame(slab, part.from);
  const isolated = isolate(part.first, frame, refusal);
  job.isolated = isolated;
  job.parsed = isolated.parsed;
  job.isAdmitted = false;
  return isolated;
}
