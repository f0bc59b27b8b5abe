import type { SealedBatch } from './fill.ts';
import type { Ring } from './ring.ts';

/** More samples of a batch would cost more than they tell. */
const SAMPLES_PER_BATCH = 32;

/** Ages of a batch's frames since they came from the stream, ms; a sample spread evenly over the batch. */
export function sampleAges(ring: Ring, batch: SealedBatch, nowMs: number): number[] {
  const oldestMs = nowMs - batch.openedMs;
  if (batch.slab === null) return [oldestMs];
  const { arrivals } = ring.slab(batch.slab);
  const step = Math.max(1, Math.ceil(batch.frames / SAMPLES_PER_BATCH));
  const ages: number[] = [];
  for (let frame = 0; frame < batch.frames; frame += step) ages.push(oldestMs - arrivals[frame] / 1000);
  return ages;
}
