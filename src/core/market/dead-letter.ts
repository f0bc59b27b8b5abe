import { createHash } from 'node:crypto';
import type { EventEncoding } from './codec/decode.ts';
import type { RefusalReason } from './refusal.ts';
import { formatMicros, parseIsoMicros, type Micros } from '../time.ts';

/** The dead letter topic. */
export const DEAD_LETTER_TOPIC = 'mdp.events.dlq';

export type DeadLetterReason =
  | RefusalReason
  /** a stored event has this id with different content */
  | 'conflict'
  /** the database refuses the row */
  | 'refused_by_database'
  /** the bus refuses the record */
  | 'refused_by_bus'
  /** src_ts is too far ahead of the time it was taken */
  | 'future'
  /** its window was closed, and the policy is dlq; also late bar events */
  | 'late'
  /** beyond the revision horizon */
  | 'too_late'
  /** redelivered so often that it must be what crashes its consumer */
  | 'poison';

/** A record removed from its topic and kept. */
export interface MarketDeadLetter {
  /** its source; with the partition if the topic has several: mdp.events:3 (partitionName) */
  topic: string;
  /** its id on the bus; null: it never got onto the bus */
  msgId: string | null;
  /** the group that refused it; null: its producer */
  group: string | null;
  reason: DeadLetterReason;
  /** one line for operators */
  detail: string;
  /** the record's key, when it had one */
  key: string | null;
  /** encoding of `raw` */
  encoding: EventEncoding;
  /** its first RAW_MAX_BYTES bytes */
  raw: Uint8Array;
  /** its full length; more than raw.length when it was truncated */
  rawBytes: number;
  /** SHA-256 of all its bytes, hex digits */
  rawSha256: string;
  at: Micros;
}

/** A refused record with all its bytes as received. */
export interface RefusedRecord extends Omit<MarketDeadLetter, 'raw' | 'rawBytes' | 'rawSha256'> {
  raw: Uint8Array;
}

/**
 * Longer records are truncated: base64 of these bytes and the other fields stay below 1 MiB, Kafka's default limit.
 * An event itself may be 1 MiB, but the rest of one this long would not help anybody.
 */
export const RAW_MAX_BYTES = 700 * 1024;
const DETAIL_CHARS_MAX = 500;
const VERSION = 1;

/** `mdp.events`, or `mdp.events:3` if the topic has several partitions, as positions are unique only within one. */
export function partitionName(topic: string, partition: number, partitions: number): string {
  return partitions === 1 ? topic : `${topic}:${partition}`;
}

export function deadLetterOf(record: RefusedRecord): MarketDeadLetter {
  const { raw } = record;
  return {
    ...record,
    detail: record.detail.slice(0, DETAIL_CHARS_MAX),
    raw: raw.length > RAW_MAX_BYTES ? raw.subarray(0, RAW_MAX_BYTES) : raw,
    rawBytes: raw.length,
    rawSha256: createHash('sha256').update(raw).digest('hex'),
  };
}

/** topic|msg_id: the same record refused twice, by any group, is one dead letter. */
export function deadLetterId({ topic, msgId, rawSha256 }: MarketDeadLetter): string {
  return `${topic}|${msgId ?? `sha256:${rawSha256}`}`;
}

/** Always JSON, whatever the bus's encoding: people read these. */
export function encodeDeadLetter(letter: MarketDeadLetter): Uint8Array {
  const { topic, msgId, group, reason, detail, key, encoding, raw, rawBytes, rawSha256, at } = letter;
  const record = {
    ver: VERSION,
    topic,
    ...(msgId === null ? {} : { msg_id: msgId }),
    ...(group === null ? {} : { group }),
    reason,
    detail,
    ...(key === null ? {} : { key }),
    encoding,
    raw: Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength).toString('base64'),
    raw_bytes: rawBytes,
    ...(rawBytes > raw.length ? { raw_cut_at: raw.length } : {}),
    raw_sha256: rawSha256,
    at: formatMicros(at),
    event_id: deadLetterId(letter),
  };
  return Buffer.from(JSON.stringify(record));
}

/** null when the bytes are not such a record. */
export function decodeDeadLetter(data: Uint8Array): MarketDeadLetter | null {
  try {
    return letterOf(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(data)));
  } catch {
    return null;
  }
}

/** @throws RangeError when `at` is not a time */
function letterOf(value: unknown): MarketDeadLetter | null {
  if (typeof value !== 'object' || value === null) return null;
  const fields = new Map<string, unknown>(Object.entries(value));
  const text = (name: string): string | null => {
    const found = fields.get(name);
    return typeof found === 'string' ? found : null;
  };
  const topic = text('topic');
  const reason = text('reason');
  const raw = text('raw');
  const rawSha256 = text('raw_sha256');
  const at = text('at');
  const rawBytes = fields.get('raw_bytes');
  if (fields.get('ver') !== VERSION || !isLength(rawBytes)) return null;
  if (topic === null || reason === null || raw === null || rawSha256 === null || at === null) return null;
  return {
    topic,
    msgId: text('msg_id'),
    group: text('group'),
    reason: reason as DeadLetterReason,
    detail: text('detail') ?? '',
    key: text('key'),
    encoding: text('encoding') === 'msgpack' ? 'msgpack' : 'json',
    raw: Buffer.from(raw, 'base64'),
    rawBytes,
    rawSha256,
    at: parseIsoMicros(at),
  };
}

function isLength(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}
