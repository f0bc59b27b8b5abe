import { homedir, userInfo } from 'node:os';
import { join } from 'node:path';

/** libpq's names; what each means is in connect.ts. */
export const SSL_MODES = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const;
export type SslMode = (typeof SSL_MODES)[number];

export interface ConnectOptions {
  /** a name, an address, or the folder of a unix socket */
  host: string;
  port: number;
  user: string;
  database: string;
  /** A function, so that no logger, inspector or JSON prints it. null: PGPASSWORD or ~/.pgpass, as pg does. */
  password: () => string | null;
  sslMode: SslMode;
  /** PEM file, or `system` for the certificates of this machine; null: none was named */
  sslRootCert: string | null;
  /** PEM files of the client's own certificate; both or none */
  sslClient: { cert: string; key: string; passphrase: () => string | null } | null;
  /** the whole of connecting: name lookup, TCP, TLS, authentication */
  connectTimeoutMs: number;
  /** server settings of the URL, e.g. -csearch_path=tenant */
  serverOptions: string | null;
  applicationName: string | null;
}

const CONNECT_TIMEOUT_MS = 10_000;

/** Known to libpq, without a meaning for this program or covered by what it does anyway. */
const IGNORED_PARAMETERS = new Set([
  'client_encoding', // always UTF8
  'fallback_application_name',
  'gssencmode', // prefer and disable are what happens; require is refused below
  'keepalives', // always on, with our own times
  'keepalives_count',
  'keepalives_idle',
  'keepalives_interval',
  'krbsrvname',
  'sslcompression',
  'sslsni',
  'tcp_user_timeout',
]);

const SHAPE =
  /^postgres(?:ql)?:\/\/(?:(?<user>[^@/:]*)(?::(?<password>[^@/]*))?@)?(?<host>\[[^\]]*\]|[^:/?,]*)(?::(?<port>\d*))?(?:\/(?<database>[^?]*))?(?:\?(?<query>.*))?$/s;

/**
 * Reads postgres://user:password@host:port/database?parameters as libpq does (its own grammar: a password may hold `#`
 * and `?` unescaped). One host.
 * Throws an Error whose message never holds the URL, for it may hold a password.
 */
export function parseDatabaseUrl(url: string): ConnectOptions {
  const parts = SHAPE.exec(url)?.groups;
  if (parts === undefined) {
    throw new Error(
      'not a database URL: postgres://user:password@host:5432/database?sslmode=require ' +
        '(one host; @ / : % in user or password as %40 %2F %3A %25)',
    );
  }
  const parameters = readParameters(parts['query'] ?? '');
  const take = (name: string): string | null => {
    const value = parameters.get(name) ?? null;
    parameters.delete(name);
    return value === '' ? null : value;
  };
  const authority = (name: string, parameter: string): string | null => {
    const given = take(parameter);
    const inAuthority = decoded(parts[name] ?? '', name).replace(/^\[(.*)\]$/s, '$1');
    return given ?? (inAuthority === '' ? null : inAuthority);
  };

  const user = authority('user', 'user') ?? userInfo().username;
  const password = authority('password', 'password');
  const options: ConnectOptions = {
    host: authority('host', 'host') ?? 'localhost',
    port: wholeNumber(authority('port', 'port') ?? '5432', 'port', 1, 65_535),
    user,
    database: authority('database', 'dbname') ?? user,
    password: () => password,
    ...readTls(take),
    connectTimeoutMs: readTimeout(take('connect_timeout')),
    serverOptions: take('options'),
    applicationName: take('application_name'),
  };
  refuseUnsupported(take, parameters);
  return options;
}

function readTls(
  take: (name: string) => string | null,
): Pick<ConnectOptions, 'sslMode' | 'sslRootCert' | 'sslClient'> {
  const requiresSsl = take('requiressl') === '1' || take('ssl') === 'true';
  const named = take('sslmode') ?? (requiresSsl ? 'require' : null);
  let sslRootCert = take('sslrootcert');
  const fallback: SslMode = sslRootCert === 'system' ? 'verify-full' : 'prefer';
  const sslMode = named === null ? fallback : SSL_MODES.find((mode) => mode === named);
  if (sslMode === undefined) throw new Error(`sslmode is one of ${SSL_MODES.join(', ')}`);
  if (sslRootCert === 'system' && sslMode !== 'verify-full') {
    throw new Error(
      'sslrootcert=system needs sslmode=verify-full: anybody can get a certificate from a public authority',
    );
  }
  // verify-* without a file: the place where libpq looks, so that a URL that works in psql works here
  if (sslMode.startsWith('verify-')) sslRootCert ??= join(homedir(), '.postgresql', 'root.crt');

  const cert = take('sslcert');
  const key = take('sslkey');
  const passphrase = take('sslpassword');
  if ((cert === null) !== (key === null))
    throw new Error('sslcert and sslkey belong together: name both or none');
  const sslClient = cert === null || key === null ? null : { cert, key, passphrase: () => passphrase };
  return { sslMode, sslRootCert, sslClient };
}

function readTimeout(text: string | null): number {
  if (text === null) return CONNECT_TIMEOUT_MS;
  const seconds = wholeNumber(text, 'connect_timeout', 0, 3600);
  // libpq: 0 waits for ever, which a service that reports its state must not
  return seconds === 0 ? CONNECT_TIMEOUT_MS : seconds * 1000;
}

function refuseUnsupported(take: (name: string) => string | null, parameters: Map<string, string>): void {
  const session = take('target_session_attrs') ?? 'any';
  if (session !== 'any' && session !== 'read-write')
    throw new Error('target_session_attrs: only any and read-write');
  if (parameters.get('gssencmode') === 'require') throw new Error('gssencmode=require is not supported');
  if (take('channel_binding') === 'require')
    throw new Error('channel_binding=require is not supported: sslmode=verify-full');
  if ((take('sslnegotiation') ?? 'postgres') !== 'postgres') throw new Error('sslnegotiation: only postgres');
  for (const name of parameters.keys()) {
    if (IGNORED_PARAMETERS.has(name)) continue;
    // of a URL that is broken in another way this may be a piece of a password
    const shown = /^[a-z_]{1,30}$/.test(name) ? name : '(unreadable)';
    throw new Error(`parameter ${shown} of the database URL is not supported`);
  }
}

function readParameters(query: string): Map<string, string> {
  const parameters = new Map<string, string>();
  for (const pair of query.split('&')) {
    if (pair === '') continue;
    const [name, ...rest] = pair.split('=');
    parameters.set(decoded(name ?? '', 'parameter'), decoded(rest.join('='), name ?? ''));
  }
  return parameters;
}

function decoded(text: string, what: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new Error(`${what} of the database URL has a % that begins no escape: write %25`);
  }
}

function wholeNumber(text: string, name: string, least: number, most: number): number {
  const value = /^\d{1,6}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= least && value <= most)) throw new Error(`${name} of the database URL: ${least} to ${most}`);
  return value;
}
