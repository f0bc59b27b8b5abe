import type { Redis } from 'ioredis';
import { BusError, type Durability } from '../bus.ts';
import { replyWord } from './errors.ts';

/** Settings of the server that decide what can be lost; null: not readable. */
export interface ServerSettings {
  version: string | null;
  appendonly: boolean | null;
  appendfsync: string | null;
  /** bytes; 0: no limit */
  maxmemory: number | null;
  policy: string | null;
}

/** the first version with what is used here (XTRIM MINID, exclusive ranges) */
const VERSION_MIN = [6, 2] as const;
const WAITAOF_MIN = [7, 2] as const;

/** The service's user may lack the permission for CONFIG and INFO. */
export async function readSettings(client: Redis): Promise<ServerSettings> {
  const [server, memory, persistence, fsync, onlyFsync] = await Promise.all([
    permitted(client.info('server')),
    permitted(client.info('memory')),
    permitted(client.info('persistence')),
    permitted(setting(client, 'appendfsync')),
    permitted(setting(client, 'appendonly')),
  ]);
  const aof = onlyFsync ?? infoField(persistence, 'aof_enabled');
  const maxmemory = infoField(memory, 'maxmemory');
  return {
    version: infoField(server, 'redis_version'),
    appendonly: aof === null ? null : aof === 'yes' || aof === '1',
    appendfsync: fsync,
    maxmemory: maxmemory === null ? null : Number(maxmemory),
    policy: infoField(memory, 'maxmemory_policy'),
  };
}

/** Null: this server has no setting of this name. */
async function setting(client: Redis, name: string): Promise<string | null> {
  const reply = (await client.config('GET', name)) as string[];
  return reply[1] ?? null;
}

/** @throws BusError of kind `setup`, with the command that corrects it */
export function refuseUnfit({ version, maxmemory, policy }: ServerSettings): void {
  if (version !== null && !isAtLeast(version, VERSION_MIN)) {
    throw new BusError('setup', `Redis ${version} is too old: ${VERSION_MIN.join('.')} or later is needed`);
  }
  if (evicts(maxmemory, policy)) {
    throw new BusError(
      'setup',
      `Redis would evict streams when its memory is full (maxmemory-policy ${policy}). ` +
        'Mend it with: redis-cli CONFIG SET maxmemory-policy noeviction',
    );
  }
}

/** Streams have no time to live, so only the policies for all keys evict them. */
export function evicts(maxmemory: number | null, policy: string | null): boolean {
  return maxmemory !== 0 && policy !== null && policy.startsWith('allkeys-');
}

export function hasWaitAof({ version }: ServerSettings): boolean {
  return version !== null && isAtLeast(version, WAITAOF_MIN);
}

export function describeDurability(
  { appendonly, appendfsync }: ServerSettings,
  waitsForDisk: boolean,
): Durability {
  if (appendonly === null) {
    return {
      lossFree: false,
      why: 'Redis does not say whether it keeps an append-only file: what a crash costs is unknown',
    };
  }
  if (!appendonly)
    return { lossFree: false, why: 'appendonly no: a restart of Redis loses what its last snapshot has not' };
  if (waitsForDisk)
    return { lossFree: true, why: 'WAITAOF: publishing waits until the append-only file is on disk' };
  if (appendfsync === 'always') return { lossFree: true, why: 'appendonly yes, appendfsync always' };
  if (appendfsync === 'everysec') {
    return {
      lossFree: false,
      why: 'appendfsync everysec: a power loss can cost 1 s; a crash of Redis alone costs nothing',
    };
  }
  if (appendfsync === 'no') {
    return {
      lossFree: false,
      why: 'appendfsync no: a power loss costs what the system has not written yet, some 30 s',
    };
  }
  return {
    lossFree: false,
    why: 'Redis keeps an append-only file; how often it is on disk (appendfsync) is unknown',
  };
}

export function infoField(info: string | null, name: string): string | null {
  if (info === null) return null;
  for (const line of info.split('\r\n')) if (line.startsWith(`${name}:`)) return line.slice(name.length + 1);
  return null;
}

/** Null instead of an error where an ACL forbids the command or a hosting service renamed it. */
export async function permitted<T>(asked: Promise<T>): Promise<T | null> {
  try {
    return await asked;
  } catch (error) {
    const word = replyWord(error);
    if (word === 'NOPERM' || word === 'ERR') return null;
    throw error;
  }
}

function isAtLeast(version: string, [major, minor]: readonly [number, number]): boolean {
  const [ours = 0, oursMinor = 0] = version.split('.').map(Number);
  return ours > major || (ours === major && oursMinor >= minor);
}
