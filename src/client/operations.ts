import { decoder, type Decoded } from './wire.ts';

export interface GapJson {
  gap_id: number;
  first_tick: string;
  last_tick: string;
  state: 'open' | 'filled' | 'unfillable' | 'skipped';
  detected_at: string;
  closed_at: string | null;
  attempts: number;
  last_error: string | null;
}

/** Numbers that the sequencer's stream left out, both ends included. */
export type Gap = Decoded<GapJson, 'first_tick' | 'last_tick'>;

export interface GapsQuery {
  state?: Gap['state'];
  /** gaps that share a number with [from, to) */
  from?: bigint | number;
  to?: bigint | number;
}

export interface ChainDeadLetterJson {
  dead_letter_id: number;
  source: 'chain';
  tick_number: string | null;
  after_tick: string | null;
  reason: string;
  detail: string | null;
  sqlstate: string | null;
  /** how many the frame has */
  bytes: number;
  raw_sha256: string;
  status: string;
  created_at: string;
  resolved_at: string | null;
}

export type ChainDeadLetter = Decoded<ChainDeadLetterJson, 'tick_number' | 'after_tick'>;

/** A record of the bus that could not be used. */
export interface BusDeadLetter {
  /** topic|msg_id */
  event_id: string;
  source: 'bus';
  topic: string;
  /** null: it never got onto the bus */
  msg_id: string | null;
  /** who refused it; null: its producer */
  group: string | null;
  reason: string;
  detail: string;
  key: string | null;
  encoding: string;
  /** how many the record had */
  bytes: number;
  /** more than are kept */
  is_cut: boolean;
  raw_sha256: string;
  at: string;
  status: string;
  resolved_by: string | null;
  resolved_at: string | null;
  /** where it was published again */
  published_as: string | null;
}

/** With the bytes of its frame or record, in base64. */
export type WholeDeadLetter = (ChainDeadLetter | BusDeadLetter) & { raw: string };

export interface DeadLettersQuery {
  status?: 'open' | 'resolved' | 'all';
  reason?: string;
}

export interface Job {
  id: number;
  job_name: string;
  provider: string | null;
  status: 'pending' | 'running' | 'paused' | 'success' | 'failed' | 'cancelled';
  symbols: string[] | null;
  rows_written: number;
  min_ts: string | null;
  max_ts: string | null;
  started_at: string;
  completed_at: string | null;
  heartbeat_at: string;
  error_message: string | null;
  metadata: unknown;
}

export interface JobsQuery {
  name?: string;
  status?: Job['status'];
}

export const decodeGap = decoder<GapJson, 'first_tick' | 'last_tick'>('first_tick', 'last_tick');
export const decodeChainDeadLetter = decoder<ChainDeadLetterJson, 'tick_number' | 'after_tick'>(
  'tick_number',
  'after_tick',
);
export const decodeBusDeadLetter = decoder<BusDeadLetter, never>();

export function decodeWholeDeadLetter(item: unknown): WholeDeadLetter {
  // only that of the chain has members that become bigint
  return decodeChainDeadLetter(item) as unknown as WholeDeadLetter;
}

export const decodeJob = decoder<Job, never>();
