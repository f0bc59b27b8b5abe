import { BarMerger, type Bar } from '../market/bar.ts';
import { BarBuilder } from './bar-builder.ts';
import type { Extension } from './partition-windows.ts';

/** What a window of a replay holds by now, and its last tick by (time, seq). */
export interface ReplayWindow {
  bar: Bar;
  lastSeq: bigint;
}

/**
 * A closed window of a replay with what its run emitted later, after a pause, say. A run emits in order, so what lies behind
 * its last tick is new, and what does not was emitted again after a crash and is in it. null: nothing of it is new.
 */
export function extendWindow(stored: ReplayWindow | null, ticks: Extension['ticks']): ReplayWindow | null {
  let lastUs = stored?.bar.lastUs ?? -Infinity;
  let lastSeq = stored?.lastSeq ?? -1n;
  const builder = new BarBuilder();
  for (const { srcUs, seq, price, size } of ticks) {
    if (srcUs < lastUs || (srcUs === lastUs && seq <= lastSeq)) continue;
    builder.add(srcUs, seq, price, size);
    lastUs = srcUs;
    lastSeq = seq;
  }
  const added = builder.bar();
  if (added === null) return null;
  const merger = new BarMerger();
  if (stored !== null) merger.add(stored.bar);
  merger.add(added);
  const bar = merger.bar();
  return bar === null ? null : { bar, lastSeq };
}
