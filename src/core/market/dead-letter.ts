import { createHash } from 'node:crypto';
import type { EventEncoding } from './codec/decode.ts';
import type { RefusalReason } from './refusal.ts';
import { formatMicros, parseIsoMicros, type Micros } from '../time.ts';

/** The topic of what could not be used. */
export const DEAD_LETTER_TOPIC = 'mdp.events.dlq';

export type DeadLetterReason =
  | RefusalReason
  /** a stored event has this id and another content */
  | 'conflict'
  /** the database refuses the row */
  | 'refused_by_database'
  /** the bus refuses the record */
  | 'refused_by_bus'
  /** src_ts is too far ahead of the time it was taken */
  | 'future'
  /** its window was closed, and the policy is to put it aside; and bar events that come so late */
  | 'late'
  /** behind the horizon within which bars are revised */
  | 'too_late'
  /** handed out so often that it must be what ends its consumer */
  | 'poison';

/** A record that was taken off its topic and kept. */
export interface MarketDeadLetter {
  /** where it was; of a topic with several partitions with the partition: mdp.events:3 (partitionName) */
  topic: string;
  /** the bus's own id there; null: it never came on the bus */
  msgId: string | null;
  /** who refused it; null: its producer */
  group: string | null;
  reason: DeadLetterReason;
  /** one line for operators */
  detail: string;
  /** the record's key, when it had one */
  key: string | null;
  /** how `raw` is to be read */
  encoding: EventEncoding;
  /** its bytes, up to RAW_MAX_BYTES of them */
  raw: Uint8Array;
  /** how many there were; more than raw.length when it was cut */
  rawBytes: number;
  /** SHA-256 of all of them, hex digits */
  rawSha256: string;
  at: Micros;
}

/** Of what was refused: the bytes as they came. */
export interface RefusedRecord extends Omit<MarketDeadLetter, 'raw' | 'rawBytes' | 'rawSha256'> {
  raw: Uint8Array;
}

/**
 * Longer records are cut: base64 of these and the other fields stay below 1 MiB, the most that Kafka takes by default.
 * An event may itself be 1 MiB; one of this length has no meaning that its rest could tell.
 */
export const RAW_MAX_BYTES = 700 * 1024;
const DETAIL_CHARS_MAX = 500;
const VERSION = 1;

/** `mdp.events`, or `mdp.events:3` where a topic has several partitions: positions are told apart by it. */
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

/** topic|msg_id: the same record refused twice, by whomever, is one dead letter. */
export function deadLetterId({ topic, msgId, rawSha256 }: MarketDeadLetter): string {
  return `${topic}|${msgId ?? `sha256:${rawSha256}`}`;
}

/** JSON, whatever the bus's encoding is: people read these. */
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

/** null when the bytes are no such record. */
export function decodeDeadLetter(data: Uint8Array): MarketDeadLetter | null {
  try {
    return letterOf(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(data)));
  } catch {
    return null;
  }
}

/** @throws RangeError when `at` is no time */
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
  if (fields.get('ver') !== VERSION || typeof rawBytes !== 'number') return null;
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
