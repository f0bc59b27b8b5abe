import { FRAME_UNNUMBERED, INDEX_WORDS } from '../../core/copy/transcode.ts';
import type { TickRange } from '../../core/ingest/ranges.ts';
import type { SealedBatch } from '../reader/batch-builder.ts';

/** Some of a sealed batch's frames, in their order: what one transaction covers. Initially all of them. */
export interface Part {
  /** frames of the batch before it */
  from: number;
  frames: number;
  /** the number due at its first frame */
  first: bigint;
  /** numbered frames */
  ticks: number;
  /** bytes of its frames */
  bytes: number;
  /** holes directly below its first tick: recorded with the first part that has one */
  gaps: readonly TickRange[];
  /** the brake has counted its dead letters */
  isAdmitted: boolean;
}

export function wholePart({ frames, first, ticks, bytes, gaps }: SealedBatch): Part {
  return { from: 0, frames, first, ticks, bytes, gaps, isAdmitted: false };
}

/** Null when none of its frames has a number. */
export function rangeOf({ first, ticks }: Part): TickRange | null {
  return ticks === 0 ? null : { first, last: first + BigInt(ticks) - 1n };
}

/** @param index the slab's, INDEX_WORDS words per frame */
export function halves(part: Part, index: Uint32Array): [Part, Part] {
  const frames = part.frames >>> 1;
  let ticks = 0;
  let bytes = 0;
  for (let frame = part.from; frame < part.from + frames; frame += 1) {
    bytes += index[frame * INDEX_WORDS + 1];
    if ((index[frame * INDEX_WORDS + 2] & FRAME_UNNUMBERED) === 0) ticks += 1;
  }
  const { isAdmitted } = part;
  return [
    {
      from: part.from,
      frames,
      first: part.first,
      ticks,
      bytes,
      gaps: ticks > 0 ? part.gaps : [],
      isAdmitted,
    },
    {
      from: part.from + frames,
      frames: part.frames - frames,
      first: part.first + BigInt(ticks),
      ticks: part.ticks - ticks,
      bytes: part.bytes - bytes,
      gaps: ticks > 0 ? [] : part.gaps,
      isAdmitted,
    },
  ];
}
