import type { Job } from './job.ts';
import type { Ring } from '../ring.ts';

/** More samples of a batch would cost more than they tell. */
const SAMPLES_PER_BATCH = 32;

/** Ages of the frames of a job's first part since they came from the stream, ms; a sample spread evenly over the part. */
export function sampleAges(ring: Ring, { batch, parts: [part] }: Job, nowMs: number): number[] {
  const oldestMs = nowMs - batch.openedMs;
  if (batch.slab === null) return [oldestMs];
  const { arrivals } = ring.slab(batch.slab);
  const step = Math.max(1, Math.ceil(part.frames / SAMPLES_PER_BATCH));
  const ages: number[] = [];
  for (let frame = part.from; frame < part.from + part.frames; frame += step)
    ages.push(oldestMs - arrivals[frame] / 1000);
  return ages;
}
