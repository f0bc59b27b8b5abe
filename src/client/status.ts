import { decoder, type Decoded } from './wire.ts';

type Digits = 'origin' | 'position' | 'complete_up_to' | 'floor';

export interface StatusJson {
  /** the database's clock */
  now: string;
  chain_id: string | null;
  origin: string | null;
  /** end of what is stored without a hole that is not recorded */
  position: string | null;
  complete_up_to: string | null;
  /** the lowest tick that is kept; null: nothing was dropped */
  floor: string | null;
  newest_timestamp: string | null;
  gaps: { state: string; ranges: number; ticks: string }[];
  open_gaps: {
    first: string;
    last: string;
    attempts: number;
    last_error: string | null;
    next_attempt: string | null;
  }[];
  dead_letters: { status: string; reason: string; count: number }[];
  halt: { kind: string; reason: string; since: string } | null;
  leader: { holder: string; epoch: string; live: boolean; since: string } | null;
  edition: {
    edition: 'plain' | 'apache' | 'community';
    postgres: string;
    timescale: string | null;
    usable: boolean;
  };
  /** files; unknown: of a newer version than the server */
  schema: { applied: string[]; behind: string[]; unknown: string[] };
  /** null: it does not answer */
  bus: { kind: 'redis' | 'kafka' | 'postgres'; topics: string[]; groups: StatusGroup[] } | null;
  bus_error: 'unreachable' | 'full' | 'refused' | 'setup' | 'timeout' | null;
}

/** A consumer group of a topic, in one partition. */
export interface StatusGroup {
  topic: string;
  group: string;
  /** -1: what is put under the topic's own name and moved on */
  partition: number;
  members: number;
  /** records handed out and not acknowledged */
  pending: number;
  /** records not handed out yet; null: the bus cannot say */
  lag: number | null;
  /** age of the oldest record that is not acknowledged; 0: there is none */
  lag_ms: number;
  /** since a member was seen; null: unknown */
  idle_ms: number | null;
  /** everything up to here is; null: nothing */
  acknowledged: string | null;
}

export type Status = Omit<Decoded<StatusJson, Digits>, 'gaps' | 'open_gaps' | 'leader'> & {
  gaps: Decoded<StatusJson['gaps'][number], 'ticks'>[];
  open_gaps: Decoded<StatusJson['open_gaps'][number], 'first' | 'last'>[];
  leader: Decoded<NonNullable<StatusJson['leader']>, 'epoch'> | null;
};

const decodeMembers = decoder<StatusJson, Digits>('origin', 'position', 'complete_up_to', 'floor');
const decodeGap = decoder<StatusJson['gaps'][number], 'ticks'>('ticks');
const decodeOpenGap = decoder<StatusJson['open_gaps'][number], 'first' | 'last'>('first', 'last');
const decodeLeader = decoder<NonNullable<StatusJson['leader']>, 'epoch'>('epoch');

export function decodeStatus(item: unknown): Status {
  const { gaps, open_gaps, leader, ...members } = decodeMembers(item);
  return {
    ...members,
    gaps: gaps.map(decodeGap),
    open_gaps: open_gaps.map(decodeOpenGap),
    leader: leader === null ? null : decodeLeader(leader),
  };
}
