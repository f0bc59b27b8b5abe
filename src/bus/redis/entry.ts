import type { Delivery, Encoding, OutgoingRecord } from '../bus.ts';
import { takenMsOf } from '../../core/bus/taken.ts';
import { positionMs } from './stream-id.ts';

/** An entry in a reply of the server: id and fields; null where the body was deleted while it was pending. */
export type RawEntry = [id: Buffer, fields: Buffer[] | null];

const MULTI = '*1\r\n$5\r\nMULTI\r\n';
const EXEC = '*1\r\n$4\r\nEXEC\r\n';
const CRLF = '\r\n';
/** of one XADD beyond its key, id and data: names, lengths and line ends */
const HEAD_MAX_BYTES = 128;

/** The stream of one partition. */
export function streamKey(topic: string, partition: number, partitions: number): string {
  return partitions === 1 ? topic : `${topic}:${partition}`;
}

/** Upper bound of the bytes that encodeBatch() needs for this record. */
export function encodedBytesMax(key: string, record: OutgoingRecord): number {
  return HEAD_MAX_BYTES + key.length * 3 + (record.eventId?.length ?? 0) * 3 + record.data.byteLength;
}

/** A value to be set in the transaction of a batch. */
export interface SetValue {
  key: string;
  value: string;
}

/** MULTI, one XADD for each record, SET, EXEC: the bytes that go over the wire. */
export function encodeBatch(
  entries: readonly { key: string; record: OutgoingRecord }[],
  set: SetValue | null = null,
): Uint8Array<ArrayBuffer> {
  const last = set === null ? EXEC : `${setCommand(set)}${EXEC}`;
  let size = MULTI.length + Buffer.byteLength(last);
  for (const { key, record } of entries) size += encodedBytesMax(key, record);
  const bytes = Buffer.allocUnsafe(size);
  let at = bytes.write(MULTI, 0, 'latin1');
  for (const { key, record } of entries) {
    at += bytes.write(xaddHead(key, record), at);
    bytes.set(record.data, at);
    at += record.data.byteLength;
    at += bytes.write(CRLF, at, 'latin1');
  }
  at += bytes.write(last, at);
  return bytes.subarray(0, at);
}

function setCommand({ key, value }: SetValue): string {
  return `*3\r\n$3\r\nSET\r\n$${Buffer.byteLength(key)}\r\n${key}\r\n$${Buffer.byteLength(value)}\r\n${value}\r\n`;
}

/** Everything of an XADD up to the bytes of `data`, its last field. */
function xaddHead(key: string, record: OutgoingRecord): string {
  const { eventId } = record;
  const msgpack = record.encoding === 'msgpack';
  const count = 5 + (eventId === null ? 0 : 2) + (msgpack ? 2 : 0);
  const id = eventId === null ? '' : `$8\r\nevent_id\r\n$${Buffer.byteLength(eventId)}\r\n${eventId}\r\n`;
  const enc = msgpack ? '$3\r\nenc\r\n$7\r\nmsgpack\r\n' : '';
  return `*${count}\r\n$4\r\nXADD\r\n$${Buffer.byteLength(key)}\r\n${key}\r\n$1\r\n*\r\n${id}${enc}$4\r\ndata\r\n$${record.data.byteLength}\r\n`;
}

/**
 * An entry as a Delivery. One without a field `data` comes from a foreign program: its fields become the data, as a JSON object.
 * @param nowMs our clock, ms since 1970
 */
export function toDelivery(
  topic: string,
  partition: number,
  [id, fields]: RawEntry,
  attempts: number,
  nowMs: number,
): Delivery {
  const position = id.toString('latin1');
  let eventId: string | null = null;
  let data: Uint8Array | null = null;
  let encoding: Encoding = 'json';
  if (fields !== null) {
    for (let at = 0; at + 1 < fields.length; at += 2) {
      const value = fields[at + 1];
      switch (fields[at].toString('latin1')) {
        case 'data':
          data = value;
          break;
        case 'event_id':
          eventId = value.toString();
          break;
        case 'enc':
          encoding = value.toString('latin1') === 'msgpack' ? 'msgpack' : 'json';
          break;
      }
    }
    if (data === null) {
      data = fieldsAsJson(fields);
      encoding = 'json';
    }
  }
  return {
    topic,
    partition,
    position,
    takenMs: takenMsOf(positionMs(position), nowMs),
    key: null,
    eventId,
    encoding,
    data,
    attempts,
  };
}

function fieldsAsJson(fields: readonly Buffer[]): Uint8Array {
  const members: string[] = [];
  for (let at = 0; at + 1 < fields.length; at += 2) {
    members.push(`${JSON.stringify(fields[at].toString())}:${JSON.stringify(fields[at + 1].toString())}`);
  }
  return Buffer.from(`{${members.join(',')}}`);
}
