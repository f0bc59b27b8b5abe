import type { Refusal } from './refusal.ts';

/** What became of a batch at a writer. */
export type WriteOutcome =
  /** `resolved`: the answer to COMMIT was lost and the ledger answered instead */
  | {
      kind: 'committed';
      resolved: boolean;
      ambiguous: number;
      durationMs: number;
      /** found by the link check in the batch's own transaction; unknown when the ledger answered */
      brokenLinks: readonly bigint[];
    }
  | Refusal
  | LateBatch
  | Unconnected
  /** another daemon has the epoch */
  | { kind: 'fenced' }
  | { kind: 'stopped' };

/** Of one whose writer had a connection. */
export type BatchOutcome = Exclude<WriteOutcome, Unconnected>;

/** It was too much at once for the server, which is there and does not have it: smaller batches may pass. */
export interface LateBatch {
  kind: 'late';
  ambiguous: number;
  /** the server's words, or that it said nothing in time */
  error: string;
}

/** A writer without a connection does not hold its batch. */
export interface Unconnected extends EarlierAttempt {
  kind: 'unconnected';
  error: string;
  sqlstate: string | undefined;
}

/** What a writer did with a batch that it gave back, or that it died with. */
export interface EarlierAttempt {
  /** it may have been committed */
  unknown: boolean;
  /** backends where it may still be under way */
  orphans: readonly Backend[];
}

export interface WriteAttempt extends EarlierAttempt {
  /** it comes back as late rather than being sent again unchanged */
  isDivisible: boolean;
}

/** A backend of the server; `started` distinguishes it from a later one with the same pid. */
export interface Backend {
  pid: number;
  started: string;
}
