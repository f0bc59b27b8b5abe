import { existsSync, readFileSync } from 'node:fs';
import { getCACertificates, type ConnectionOptions as TlsOptions } from 'node:tls';
import type { Place } from '../conninfo/places.ts';
import type { PemFile } from '../conninfo/tls.ts';
import type { ConnectOptions } from '../database-url.ts';
import { codeOf, ConnectError, targetOf } from './failure.ts';

/** Files are read at each attempt: a renewed certificate is used by the next connection. @throws ConnectError */
export function tlsOptions(options: ConnectOptions, place: Place): TlsOptions {
  const { sslMode, sslRootCert, sslClient, tlsVersions } = options;
  const read = (file: PemFile, parameter: string): string => readPem(options, place, file, parameter);
  // as libpq: require verifies where there is something to verify by
  const root = sslMode === 'require' && isAbsentDefault(sslRootCert) ? null : sslRootCert;
  const verifies = sslMode.startsWith('verify-') || (sslMode === 'require' && root !== null);
  const tls: TlsOptions = {
    rejectUnauthorized: verifies,
    minVersion: tlsVersions.min,
    maxVersion: tlsVersions.max,
  };
  if (verifies && root !== null) {
    tls.ca = root === 'system' ? getCACertificates('system') : read(root, 'sslrootcert');
  }
  // a certificate of the right authority is enough unless the name is checked too
  if (verifies && sslMode !== 'verify-full') tls.checkServerIdentity = () => undefined;
  if (sslClient !== null && !isAbsentDefault(sslClient.cert)) {
    tls.cert = read(sslClient.cert, 'sslcert');
    tls.key = read(sslClient.key, 'sslkey');
    const passphrase = sslClient.passphrase();
    if (passphrase !== null) tls.passphrase = passphrase;
  }
  return tls;
}

function isAbsentDefault(file: PemFile | 'system' | null): boolean {
  return file !== null && file !== 'system' && file.isDefault && !existsSync(file.path);
}

function readPem(options: ConnectOptions, place: Place, { path }: PemFile, parameter: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const hint = parameter === 'sslrootcert' ? ': name the file of the authority, or sslrootcert=system' : '';
    const message = `${targetOf(options, place)}: ${parameter} ${path} cannot be read (${codeOf(error)})${hint}`;
    throw new ConnectError('tls', codeOf(error), message);
  }
}
