import { createHash, randomBytes } from 'node:crypto';
import { createServer } from 'node:net';
import { parseDatabaseUrl } from '../../store/postgres/database-url.ts';

/** Processes of one name on a machine, beyond which names are made up. */
const PLACES_MAX = 64;

/**
 * The name that this process has in the groups of the bus: `base`, or `base#2` and so on where another process of this machine
 * that uses the same database has it. The first free one, so that a process that is started again has the name that its
 * predecessor had, finds at once what that left behind, and names do not pile up.
 *
 * A name is held by a socket in the kernel's own name space, which ends with the process however that ends. Where there are none
 * (they are of Linux) a name is made up, and what a dead process left is taken over after its silence.
 */
export async function claimMemberName(base: string, databaseUrl: string): Promise<string> {
  const { places, database } = parseDatabaseUrl(databaseUrl);
  const hash = createHash('sha256')
    .update(JSON.stringify([base, places, database]))
    .digest('hex');
  for (let place = 1; place <= PLACES_MAX && process.platform === 'linux'; place += 1) {
    const held = await hold(`\0tick-ingester/${hash.slice(0, 32)}/${place}`);
    if (held === 'held') return place === 1 ? base : `${base}#${place}`;
    if (held === 'refused') break;
  }
  return `${base}#${randomBytes(4).toString('hex')}`;
}

/** taken: by another process. refused: this system lets nobody have such a socket. */
function hold(path: string): Promise<'held' | 'taken' | 'refused'> {
  const server = createServer((socket) => socket.destroy());
  server.unref();
  return new Promise((resolve) => {
    server.once('error', ({ code }: NodeJS.ErrnoException) =>
      resolve(code === 'EADDRINUSE' ? 'taken' : 'refused'),
    );
    server.listen(path, () => resolve('held'));
  });
}
