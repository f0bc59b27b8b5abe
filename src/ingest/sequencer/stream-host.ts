import type { BackoffLimits } from '../../core/retry.ts';
import type { Comparison } from './catch-up.ts';
import type { SilenceLimits } from './silence-watch.ts';

/** The stream's state, for /ready, the log and the metrics. */
export type StreamState =
  | { kind: 'connecting' }
  | { kind: 'streaming' }
  | { kind: 'down'; error: string; code: number }
  | { kind: 'stalled'; silentMs: number; head: bigint | null }
  /** the sequencer is the one we know and has not come up to our position yet; no stream is open */
  | { kind: 'behind'; head: bigint; position: bigint }
  /** a message above GRPC_MAX_MESSAGE_BYTES, met twice at the same position: halted until an operator decides */
  | { kind: 'poison'; error: string }
  | { kind: 'stopped' };

export interface StreamLimits extends SilenceLimits {
  backoff: BackoffLimits;
  /** the waits of a server that limits us */
  limited: BackoffLimits;
}

export interface StreamHost {
  frame(bytes: Uint8Array): void;
  disconnected(): void;
  /** the tick to request; 0 is the latest */
  resumeAt(): bigint;
  /** the last tick before the one that is due; null before the first one of a chain */
  had(): bigint | null;
  highest(): bigint | null;
  /** the ring is full: silence is our own doing */
  waiting(): boolean;
  state(state: StreamState): void;
  head(head: bigint): void;
  /** Of CatchUp. */
  compare(number: bigint, bytes: Uint8Array): Promise<Comparison>;
  /** Of HeadWatch and CatchUp. */
  forked(reason: string): void;
  /** Of HeadWatch. */
  headReached(): void;
}
