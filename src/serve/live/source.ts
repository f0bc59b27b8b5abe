import type { LiveEvent } from './event.ts';
import type { FanOut } from './fan-out.ts';
import type { LiveFilter } from './filter.ts';
import type { Vector } from './vector.ts';

/** The id is none of ours, or not of this topic: 400. */
export class LiveIdError extends Error {
  override name = 'LiveIdError';
}

/** What lies behind the id, or behind where a slow subscriber is, is not to be had any more. */
export class LiveGoneError extends Error {
  override name = 'LiveGoneError';
  /** what the gap begins behind, as far as it is known: µs since 1970 */
  readonly fromUs: bigint;
  /** id to go on with; some events may come again, and late ones older than it may be missing */
  readonly resume: string;

  constructor(message: string, fromUs: bigint, resume: string) {
    super(message);
    this.fromUs = fromUs;
    this.resume = resume;
  }
}

/** Where a subscription begins. */
export type LiveFrom =
  /** with what comes from now on */
  | { kind: 'now' }
  /** with what is stored from this time on, µs since 1970, and then with what comes */
  | { kind: 'time'; us: bigint }
  | { kind: 'id'; id: string };

/** What one subscriber reads by itself before it takes part in the fan-out. */
export type ReadStep =
  /** of those, filtered, in order; may be empty */
  | { kind: 'events'; events: LiveEvent[] }
  /** everything else is in the memory of this fan-out, behind this position */
  | { kind: 'memory'; fanOut: FanOut; positions: Vector };

export interface LiveReader {
  /** Rejects with LiveGoneError, or with what the bus or the database says: then the subscription ends. */
  next(signal: AbortSignal): Promise<ReadStep>;
  /** Nothing is wanted for a while: gives back what others need. */
  pause(): Promise<void>;
}

/** A topic of the live path. */
export interface LiveSource {
  /** Rejects with LiveIdError and LiveGoneError. */
  open(from: LiveFrom, filter: LiveFilter, signal: AbortSignal): Promise<LiveReader>;
  /** For a member that fell behind. @param at up to where it got everything of this fan-out */
  reopen(fanOut: FanOut, at: Vector, filter: LiveFilter): LiveReader;
  /** Id of a position of the fan-out, for heartbeats: a filter may let nothing pass for long. */
  idAt(fanOut: FanOut, positions: Vector): string;
  /** Called once, when nobody is subscribed any more. */
  stop(): Promise<void>;
}
