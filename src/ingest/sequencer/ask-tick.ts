import { u64At } from '../../core/chain/u64.ts';
import { scanTickNumber } from '../../core/chain/wire.ts';
import type { TickServer } from './connection.ts';

/**
 * The bytes of this tick by GetTick, null when it is not there. Rejects as TickServer.tick does, and with a RangeError when
 * the answer is another tick.
 */
export async function askTick(server: Pick<TickServer, 'tick'>, number: bigint): Promise<Uint8Array | null> {
  const bytes = await server.tick(number);
  if (bytes === null) return null;
  const words = new Uint32Array(2);
  if (scanTickNumber(bytes, 0, bytes.length, words) !== 0)
    throw new RangeError(`GetTick answered with a tick that cannot be read`);
  const found = u64At(words, 0);
  if (found !== number) throw new RangeError(`GetTick answered with tick ${found}`);
  return bytes;
}
