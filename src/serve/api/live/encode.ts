import type { LiveEvent, LiveNotice } from '../../live/event.ts';

/** Events as text/event-stream. */
export function sseText(events: readonly (LiveEvent | LiveNotice)[]): Buffer {
  let text = '';
  for (const { id, event, data } of events) text += `id: ${id}\nevent: ${event}\ndata: ${data}\n\n`;
  return Buffer.from(text);
}

/** What one message of the WebSocket says. */
export function wsMessage({ id, event, data }: LiveEvent | LiveNotice): string {
  return `{"id":"${id}","event":"${event}","data":${data}}`;
}

/** Events as frames of the WebSocket, one a message: written in one piece, and the same for everybody. */
export function wsFrames(events: readonly (LiveEvent | LiveNotice)[]): Buffer {
  return Buffer.concat(events.flatMap((event) => frameOf(Buffer.from(wsMessage(event)))));
}

const FINAL_TEXT = 0x81;
const LENGTH_16 = 126;
const LENGTH_64 = 127;

/** RFC 6455, 5.2: a server's frames are not masked. */
function frameOf(payload: Buffer): [Buffer, Buffer] {
  const { length } = payload;
  if (length < LENGTH_16) return [Buffer.from([FINAL_TEXT, length]), payload];
  if (length < 2 ** 16) {
    const head = Buffer.from([FINAL_TEXT, LENGTH_16, 0, 0]);
    head.writeUInt16BE(length, 2);
    return [head, payload];
  }
  const head = Buffer.alloc(10);
  head.set([FINAL_TEXT, LENGTH_64]);
  head.writeBigUInt64BE(BigInt(length), 2);
  return [head, payload];
}
