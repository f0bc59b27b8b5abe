/** Addresses in variables: hosts, the sequencer, databases, brokers. */
import { isIP } from 'node:net';
import { resolve } from 'node:path';
import { completeDatabaseUrl } from '../../store/postgres/conninfo/environment.ts';
import { DatabaseUrlError } from '../../store/postgres/conninfo/keywords.ts';
import { type Parser, withoutComment } from './parsers.ts';

/** Where the sequencer is and how to connect to it. */
export interface GrpcEndpoint {
  /** host:port as grpc-js takes it */
  address: string;
  /** null = plaintext */
  tls: GrpcTls | null;
}

interface GrpcTls {
  caFile: string | null;
  certFile: string | null;
  keyFile: string | null;
  serverName: string | null;
}

export type DatabaseTarget = { kind: 'server'; url: string } | { kind: 'embedded'; dataDir: string };

/** CONTINUUM_GRPC_URL before the TLS variables are looked at. */
export interface GrpcUrl {
  address: string;
  scheme: 'http' | 'https' | null;
  loopback: boolean;
}

export const host: Parser<string> = {
  allowed: 'a host name or an IP address',
  unit: '',
  parse(text) {
    const bare = text.replace(/^\[(.*)\]$/, '$1');
    if (!isHost(bare)) throw new RangeError('is neither a host name nor an IP address');
    return bare;
  },
};

export const hosts: Parser<readonly string[]> = {
  allowed: 'host names with or without a port, separated by commas',
  unit: '',
  parse: (text) =>
    list(text).map((entry) => {
      const match = /^(.+?)(?::(\d{1,5}))?$/.exec(entry);
      if (match === null || !isHost(match[1])) throw new RangeError('holds something that is no host name');
      return entry;
    }),
};

export const hostPorts: Parser<readonly string[]> = {
  allowed: 'host:port, several separated by commas',
  unit: '',
  parse: (text) => list(text).map((entry) => splitHostPort(entry, null).address),
};

export const redisUri: Parser<string> = {
  allowed: 'redis://[[user]:password@]host[:port][/db] or rediss://…',
  unit: '',
  parse(text) {
    const url = parseUrl(text);
    if (url.protocol !== 'redis:' && url.protocol !== 'rediss:')
      throw new RangeError('is not a redis:// address');
    return text;
  },
};

export const grpcUrl: Parser<GrpcUrl> = {
  allowed: 'host:port (plaintext), https://host[:port] (TLS) or http://host[:port] (plaintext)',
  unit: '',
  parse(text) {
    const match = /^(?:(https?):\/\/)?([^/?#]*)\/?$/i.exec(text);
    if (match === null)
      throw new RangeError(text.includes('://') ? 'has another scheme or a path' : 'is not host:port');
    const scheme = (match[1]?.toLowerCase() ?? null) as GrpcUrl['scheme'];
    const authority = match[2];
    if (authority.includes('@')) throw new RangeError('has a user name in it; gRPC here knows none');
    const defaultPort = scheme === null ? null : scheme === 'https' ? 443 : 80;
    const { address, host } = splitHostPort(authority, defaultPort);
    return { address, scheme, loopback: isLoopback(host) };
  },
};

export const serverUrl: Parser<string> = {
  allowed: 'postgres://user:password@host:port/database[?sslmode=…] as libpq reads it',
  unit: '',
  parse(text, _folder, lookup = () => null) {
    try {
      return completeDatabaseUrl(text, lookup);
    } catch (error) {
      throw error instanceof DatabaseUrlError ? new RangeError(error.problem) : error;
    }
  },
};

/** As DATABASE_URL names it. */
export function databaseUrlOf(target: DatabaseTarget | null): string | undefined {
  return target?.kind === 'embedded' ? `embedded:${target.dataDir}` : target?.url;
}

export const databaseTarget: Parser<DatabaseTarget> = {
  allowed: `${serverUrl.allowed} or embedded:DIR`,
  unit: '',
  parse(text, folder, lookup) {
    if (!text.startsWith('embedded:')) return { kind: 'server', url: serverUrl.parse(text, folder, lookup) };
    const dir = text.slice('embedded:'.length).trim();
    if (dir === '') throw new RangeError('names no folder after embedded:');
    return { kind: 'embedded', dataDir: resolve(folder, dir) };
  },
};

function parseUrl(text: string): URL {
  const url = URL.parse(text);
  if (url === null) {
    throw new RangeError(
      'is no valid URL (write # / ? @ : % in a user name or password as %23 %2F %3F %40 %3A %25)',
    );
  }
  return url;
}

function list(text: string): string[] {
  const entries = withoutComment(text)
    .split(',')
    .map((entry) => entry.trim());
  if (entries.some((entry) => entry === '')) throw new RangeError('holds an empty entry');
  return entries;
}

function splitHostPort(text: string, defaultPort: number | null): { address: string; host: string } {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([^:[\]\s]+))(?::(\d{1,5}))?$/.exec(text);
  if (match === null)
    throw new RangeError(
      `is not host:port${text.split(':').length > 2 ? ' (write IPv6 as [::1]:50051)' : ''}`,
    );
  const host = match[1] ?? match[2];
  if (match[1] !== undefined ? isIP(host) !== 6 : !isHost(host)) throw new RangeError('has no valid host');
  const portNumber = match[3] === undefined ? defaultPort : Number(match[3]);
  if (portNumber === null) throw new RangeError('has no port');
  if (portNumber < 1 || portNumber > 65535) throw new RangeError('has a port outside 1 to 65535');
  return { host, address: match[1] === undefined ? `${host}:${portNumber}` : `[${host}]:${portNumber}` };
}

/** A name as DNS and container networks use it (underscores included), or an address. */
function isHost(text: string): boolean {
  if (isIP(text) !== 0) return true;
  if (/^[\d.]+$/.test(text)) return false; // 127.0.0 or 300.1.1.1: meant as an address
  return (
    text.length <= 253 &&
    /^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?$/.test(text)
  );
}

/** Only programs of this machine can reach it. */
export function isLoopback(host: string): boolean {
  if (isIP(host) === 4) return host.startsWith('127.');
  return host === '::1' || /^(.+\.)?localhost\.?$/i.test(host);
}
