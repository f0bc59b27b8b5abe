import { homeFile } from './account.ts';
import { DatabaseUrlError } from './keywords.ts';

/** libpq's names; connect.ts explains them. */
const SSL_MODES = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const;
type SslMode = (typeof SSL_MODES)[number];

/** A PEM file. isDefault: libpq's place for it, which counts when there is such a file. */
export interface PemFile {
  path: string;
  isDefault: boolean;
}

export interface TlsParameters {
  sslMode: SslMode;
  /** `system`: this machine's certificates; null: nothing to verify by */
  sslRootCert: PemFile | 'system' | null;
  /** the client's own certificate */
  sslClient: { cert: PemFile; key: PemFile; passphrase: () => string | null } | null;
  /** direct: the handshake without the question for it, which servers from 17 on understand */
  sslNegotiation: 'postgres' | 'direct';
  tlsVersions: { min: TlsVersion; max: TlsVersion };
}

type TlsVersion = 'TLSv1.2' | 'TLSv1.3';

/** Takes its keywords out. @throws DatabaseUrlError */
export function readTls(take: (keyword: string) => string | null): TlsParameters {
  const requires = take('requiressl') === '1';
  const named = take('sslmode') ?? (requires ? 'require' : null);
  const root = take('sslrootcert');
  const sslMode =
    named === null
      ? root === 'system'
        ? 'verify-full'
        : 'prefer'
      : SSL_MODES.find((mode) => mode === named);
  if (sslMode === undefined)
    throw new DatabaseUrlError(`has an unknown sslmode (known: ${SSL_MODES.join(', ')})`);
  if (root === 'system' && sslMode !== 'verify-full') {
    throw new DatabaseUrlError(
      'has sslrootcert=system without sslmode=verify-full: anybody can get a certificate from a public authority',
    );
  }
  const sslNegotiation = take('sslnegotiation') ?? 'postgres';
  if (sslNegotiation !== 'postgres' && sslNegotiation !== 'direct')
    throw new DatabaseUrlError('has another sslnegotiation than postgres or direct');
  if (sslNegotiation === 'direct' && !/^(require|verify-)/.test(sslMode))
    throw new DatabaseUrlError('has sslnegotiation=direct with a weaker sslmode than require');
  return {
    sslMode,
    sslRootCert: rootOf(root, sslMode),
    sslClient: readClient(take),
    sslNegotiation,
    tlsVersions: readVersions(take),
  };
}

function rootOf(named: string | null, sslMode: SslMode): TlsParameters['sslRootCert'] {
  if (named === 'system') return 'system';
  if (named !== null) return { path: named, isDefault: false };
  if (sslMode !== 'require' && !sslMode.startsWith('verify-')) return null;
  const path = homeFile('.postgresql', 'root.crt');
  if (path !== null) return { path, isDefault: true };
  if (sslMode === 'require') return null;
  throw new DatabaseUrlError(
    `has sslmode=${sslMode} without sslrootcert, and there is no home folder to look for the authority in: name its file, or sslrootcert=system`,
  );
}

function readClient(take: (keyword: string) => string | null): TlsParameters['sslClient'] {
  const mode = take('sslcertmode') ?? 'allow';
  const cert = pemFile(take('sslcert'), 'postgresql.crt');
  const key = pemFile(take('sslkey'), 'postgresql.key');
  const passphrase = take('sslpassword');
  if (mode !== 'allow' && mode !== 'disable')
    throw new DatabaseUrlError('has another sslcertmode than allow or disable');
  if (mode === 'disable') return null;
  if (cert !== null && !cert.isDefault && key === null)
    throw new DatabaseUrlError(
      'names sslcert without sslkey, and there is no home folder to look for the key in',
    );
  if (cert === null || key === null) return null;
  return { cert, key, passphrase: () => passphrase };
}

function pemFile(named: string | null, standard: string): PemFile | null {
  if (named !== null) return { path: named, isDefault: false };
  const path = homeFile('.postgresql', standard);
  return path === null ? null : { path, isDefault: true };
}

function readVersions(take: (keyword: string) => string | null): TlsParameters['tlsVersions'] {
  const min = take('ssl_min_protocol_version') ?? 'TLSv1.2';
  const max = take('ssl_max_protocol_version') ?? 'TLSv1.3';
  if (max !== 'TLSv1.2' && max !== 'TLSv1.3')
    throw new DatabaseUrlError('has another ssl_max_protocol_version than TLSv1.2 or TLSv1.3');
  if (!/^TLSv1(\.[123])?$/.test(min))
    throw new DatabaseUrlError('has an unknown ssl_min_protocol_version (known: TLSv1.2, TLSv1.3)');
  // older ones are never used
  if (min === 'TLSv1.3' && max === 'TLSv1.2')
    throw new DatabaseUrlError('has an ssl_min_protocol_version above ssl_max_protocol_version');
  return { min: min === 'TLSv1.3' ? 'TLSv1.3' : 'TLSv1.2', max };
}
