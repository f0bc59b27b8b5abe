import type { TickRange } from '../core/ingest/ranges.ts';
import type { Halt } from '../store/chain/halt.ts';
import type { LeadershipState } from './leader/leadership.ts';
import type { RingStatus } from './ring.ts';
import type { StreamState } from './sequencer/stream-host.ts';
import type { DatabaseTrouble } from './writer/trouble.ts';

/** The ingester's state, for /ready, `status` and the metrics. */
export interface IngesterStatus {
  leadership: LeadershipState;
  stream: StreamState;
  /** why ingestion is halted until an operator decides */
  halt: Halt | null;
  /** by writer; empty when all are healthy */
  databaseTrouble: Map<number, DatabaseTrouble>;
  /** how far this machine's clock is ahead of the database's, ms, negative: behind it; null before the first answer */
  clockAheadMs: number | null;
  writersConnected: number;
  position: bigint | null;
  completeUpTo: bigint | null;
  head: bigint | null;
  highest: bigint | null;
  openGaps: readonly TickRange[];
  epoch: bigint | null;
  ring: RingStatus & { bytes: number };
}
