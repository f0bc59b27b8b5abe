import { lookup } from 'node:dns/promises';
import { isIP, type NetConnectOpts } from 'node:net';
import { join } from 'node:path';
import { unlessAborted } from '../../../core/wait.ts';
import type { Place } from '../conninfo/places.ts';

/** Where to connect to for a place: every address of its name, in the system's order. Rejects with the error of the look-up. */
export async function addressesOf(place: Place, signal: AbortSignal): Promise<NetConnectOpts[]> {
  const { host, hostaddr, port } = place;
  if (isSocketFolder(place)) return [{ path: join(host, `.s.PGSQL.${port}`) }];
  const address = hostaddr ?? host;
  if (isIP(address) !== 0) return [{ host: address, port }];
  const found = await unlessAborted(lookup(address, { all: true }), signal);
  if (found === null) throw signal.reason as Error;
  return found.map((each) => ({ host: each.address, port }));
}

/** Whether it is a unix socket, which has no TLS. */
export function isSocketFolder({ host, hostaddr }: Place): boolean {
  return hostaddr === null && host.startsWith('/');
}
