import type { TranscodeLimits } from '../../core/copy/transcode.ts';
import type { Counterpart } from '../../store/chain/counterparts.ts';
import type { Comparison } from '../sequencer/catch-up.ts';
import { judge, type NumberedFrame } from './judge.ts';

export interface StoredComparisonHost {
  /** whether everything received of this number is committed, or the number lies below the origin */
  isSettled(number: bigint): boolean;
  readCounterparts(numbers: bigint[]): Promise<Map<bigint, Counterpart>>;
  /** the highest stored tick below this one; null when there is none */
  readHighestBelow(number: bigint): Promise<bigint | null>;
  /** the rules for a good tick, now */
  limits(): TranscodeLimits;
}

/** Whether the sequencer's tick is the one that is stored; nothing is counted or written. Rejects as the host does. */
export async function compareWithStored(
  frame: NumberedFrame,
  host: StoredComparisonHost,
): Promise<Comparison> {
  if (!host.isSettled(frame.number)) return { kind: 'pending' };
  const counterpart = (await host.readCounterparts([frame.number])).get(frame.number);
  const verdict = judge(frame, counterpart, host.limits());
  switch (verdict.kind) {
    case 'equal':
    case 'kept':
      return { kind: 'equal' };
    case 'conflict':
      return { kind: 'different', detail: verdict.deadLetter.detail };
    case 'unwanted':
    case 'good':
    case 'bad':
      return { kind: 'unknown', below: await host.readHighestBelow(frame.number) };
  }
}
