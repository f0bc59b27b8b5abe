import { setTimeout as delay } from 'node:timers/promises';
import { streamVerdict } from '../core/retry.ts';
import type { TickServer } from './source.ts';

/** What arrives in one piece with the message that is too large is dropped by grpc-js with it: a window of 1 MiB. */
const TICKS_MAX = 8_192;
const ROOM_POLL_MS = 20;

export interface TooLargeHost {
  /** the tick that is due; null before the first one */
  due(): bigint | null;
  frame(bytes: Uint8Array): void;
  /** the ring has no room now */
  isWaiting(): boolean;
  isOver(): boolean;
}

/**
 * A message above GRPC_MAX_MESSAGE_BYTES ends a stream without saying which tick it was, and takes ticks before it along.
 * So the ticks that are due are asked for one by one, and read like those of the stream, until one is too large as well.
 * Returns its number, null when it was not found.
 */
export async function findTooLarge(server: TickServer, host: TooLargeHost): Promise<bigint | null> {
  for (let asked = 0; asked < TICKS_MAX && !host.isOver(); asked += 1) {
    const number = host.due();
    if (number === null) return null;
    try {
      const bytes = await server.tick(number);
      if (bytes === null || host.isOver()) return null;
      host.frame(bytes);
    } catch (error) {
      return streamVerdict((error as { code?: number }).code) === 'too_large' ? number : null;
    }
    while (host.isWaiting() && !host.isOver()) await delay(ROOM_POLL_MS);
    if (host.due() === number) return null;
  }
  return null;
}
