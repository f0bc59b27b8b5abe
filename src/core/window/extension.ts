import { BarMerger, type Bar } from '../market/bar.ts';
import { BarBuilder } from './bar-builder.ts';
import type { Extension } from './step.ts';

/** The stored bar of a replay's window, and the sequence number of its last tick by (time, seq). */
export interface ReplayWindow {
  bar: Bar;
  lastSeq: bigint;
}

/**
 * Adds ticks to a closed window of a replay that its run emitted later, after a pause for example. A run emits in order,
 * so ticks after the window's last one are new; the others were repeated after a crash and are in it. null: none is new.
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
