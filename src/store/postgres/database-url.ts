import { homedir, userInfo } from 'node:os';
import { join } from 'node:path';

/** libpq's names; connect.ts explains them. */
export const SSL_MODES = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const;
export type SslMode = (typeof SSL_MODES)[number];

export interface ConnectOptions {
  /** a name, an address, or the folder of a unix socket */
  host: string;
  port: number;
  user: string;
  database: string;
  /** A function, so that no logger, inspector or JSON prints it. null: PGPASSWORD or ~/.pgpass, like pg. */
  password: () => string | null;
  sslMode: SslMode;
  /** PEM file, or `system` for this machine's certificates; null: none was named */
  sslRootCert: string | null;
  /** PEM files of the client's own certificate; both or none */
  sslClient: { cert: string; key: string; passphrase: () => string | null } | null;
  /** covers all of connecting: name lookup, TCP, TLS, authentication */
  connectTimeoutMs: number;
  /** server settings of the URL, e.g. -csearch_path=tenant */
  serverOptions: string | null;
  applicationName: string | null;
}

const CONNECT_TIMEOUT_MS = 10_000;

/** Known to libpq, but without a meaning for this program or covered by its defaults. */
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

/** Why a URL is refused. Neither text ever quotes the URL, because it may hold a password. */
export class DatabaseUrlError extends Error {
  override name = 'DatabaseUrlError';
  /** follows the name of whatever holds the URL: "has an unknown sslmode …" */
  readonly problem: string;

  constructor(problem: string) {
    super(`not a database URL that can be used: it ${problem}`);
    this.problem = problem;
  }
}

/** The parts of a URL as written, undecoded; '' for an absent one. */
interface Parts {
  user: string;
  password: string;
  host: string;
  port: string;
  database: string;
  query: string;
}

/**
 * Splits a URL where libpq does (conninfo_uri_parse_options): user and password end at the first `@`, if it comes
 * before the first `/`, and the user at the first `:`. So a password may contain `#`, `?`, `:` and `&` unescaped; only
 * `@`, `/` and `%` must be escaped. libpq would take the rest of a password with a bare `@` or `/` for a host or a
 * database and show it in its error: here such a URL is refused.
 */
function cutUrl(url: string): Parts {
  const prefix = /^postgres(?:ql)?:\/\//.exec(url)?.[0];
  if (prefix === undefined) throw new DatabaseUrlError('does not begin with postgres:// or postgresql://');
  const [, credentials = '', rest] = /^(?:([^@/]*)@)?(.*)$/s.exec(url.slice(prefix.length)) as string[];
  const [, user, password = ''] = /^([^:]*)(?::(.*))?$/s.exec(credentials) as string[];
  const [, netloc, path = '', query = ''] = /^([^/?]*)(?:\/([^?]*))?(?:\?(.*))?$/s.exec(rest) as string[];
  if (netloc.includes('@') || path.includes('@')) {
    throw new DatabaseUrlError('is no valid URL: write @ and / in a password as %40 and %2F');
  }
  if (netloc.includes(',')) throw new DatabaseUrlError('names several hosts; one is supported');
  const place = /^(?:\[([^\]]+)\]|([^:[]*))(?::(.*))?$/s.exec(netloc);
  if (place === null) throw new DatabaseUrlError('is no valid URL: an IPv6 address is written as [::1]');
  return { user, password, host: place[1] ?? place[2], port: place[3] ?? '', database: path, query };
}

/**
 * The only parser of database URLs: reads postgres://user:password@host:port/database?parameters like libpq. Parameters
 * override the parts before them. One host.
 * @throws DatabaseUrlError
 */
export function parseDatabaseUrl(url: string): ConnectOptions {
  const parts = cutUrl(url);
  const parameters = readParameters(parts.query);
  const take = (name: string): string | null => {
    const value = parameters.get(name) ?? null;
    parameters.delete(name);
    return value === '' ? null : value;
  };
  const part = (name: keyof Parts, parameter: string = name): string | null => {
    const given = take(parameter);
    const written = decoded(parts[name], name);
    return given ?? (written === '' ? null : written);
  };

  const user = part('user') ?? userInfo().username;
  const password = part('password');
  const host = part('host') ?? 'localhost';
  if (host.includes(',')) throw new DatabaseUrlError('names several hosts; one is supported');
  const options: ConnectOptions = {
    host,
    port: wholeNumber(part('port') ?? '5432', 'is no valid URL: its port', 1, 65_535),
    user,
    database: part('database', 'dbname') ?? user,
    password: () => password,
    ...readTls(take),
    connectTimeoutMs: readTimeout(take('connect_timeout')),
    serverOptions: take('options'),
    applicationName: take('application_name'),
  };
  refuseUnsupported(take, parameters);
  return options;
}

/** The secrets in a URL, as written and decoded; [] when it cannot be parsed, or the password equals another word of the URL. */
export function databaseUrlSecrets(url: string): string[] {
  try {
    const { user, password, host, database, query } = cutUrl(url);
    const parameters = readParameters(query);
    const words = ['', 'postgres', 'postgresql', user, host, database];
    const secrets = [password, decoded(password, 'password')];
    secrets.push(parameters.get('password') ?? '', parameters.get('sslpassword') ?? '');
    return secrets.filter((secret) => !words.includes(secret));
  } catch {
    return [];
  }
}

function readTls(
  take: (name: string) => string | null,
): Pick<ConnectOptions, 'sslMode' | 'sslRootCert' | 'sslClient'> {
  const ssl = take('ssl');
  if (ssl !== null && ssl !== 'true')
    throw new DatabaseUrlError('has ssl with another value than true: use sslmode');
  const requiresSsl = take('requiressl') === '1' || ssl === 'true';
  const named = take('sslmode') ?? (requiresSsl ? 'require' : null);
  let sslRootCert = take('sslrootcert');
  const fallback: SslMode = sslRootCert === 'system' ? 'verify-full' : 'prefer';
  const sslMode = named === null ? fallback : SSL_MODES.find((mode) => mode === named);
  if (sslMode === undefined)
    throw new DatabaseUrlError(`has an unknown sslmode (known: ${SSL_MODES.join(', ')})`);
  if (sslRootCert === 'system' && sslMode !== 'verify-full') {
    throw new DatabaseUrlError(
      'has sslrootcert=system without sslmode=verify-full: anybody can get a certificate from a public authority',
    );
  }
  // verify-* without a file: libpq's default path, so that a URL that works in psql works here
  if (sslMode.startsWith('verify-')) sslRootCert ??= join(homedir(), '.postgresql', 'root.crt');

  const cert = take('sslcert');
  const key = take('sslkey');
  const passphrase = take('sslpassword');
  if ((cert === null) !== (key === null))
    throw new DatabaseUrlError('names one of sslcert and sslkey, which belong together: name both or none');
  const sslClient = cert === null || key === null ? null : { cert, key, passphrase: () => passphrase };
  return { sslMode, sslRootCert, sslClient };
}

function readTimeout(text: string | null): number {
  if (text === null) return CONNECT_TIMEOUT_MS;
  const seconds = wholeNumber(text, 'is no valid URL: its connect_timeout', 0, 3600);
  // libpq: 0 waits without a limit, which a service that reports its state must not
  return seconds === 0 ? CONNECT_TIMEOUT_MS : seconds * 1000;
}

function refuseUnsupported(take: (name: string) => string | null, parameters: Map<string, string>): void {
  const session = take('target_session_attrs') ?? 'any';
  if (session !== 'any' && session !== 'read-write')
    throw new DatabaseUrlError('has another target_session_attrs than any or read-write');
  if (parameters.get('gssencmode') === 'require')
    throw new DatabaseUrlError('has gssencmode=require, which is not supported');
  if (take('channel_binding') === 'require')
    throw new DatabaseUrlError('has channel_binding=require, which is not supported: sslmode=verify-full');
  if ((take('sslnegotiation') ?? 'postgres') !== 'postgres')
    throw new DatabaseUrlError('has another sslnegotiation than postgres');
  for (const name of parameters.keys()) {
    if (IGNORED_PARAMETERS.has(name)) continue;
    // if the URL is malformed elsewhere this may be a piece of a password
    const shown = /^[a-z_]{1,30}$/.test(name) ? name : '(unreadable)';
    throw new DatabaseUrlError(`has the parameter ${shown} that is not supported`);
  }
}

function readParameters(query: string): Map<string, string> {
  const parameters = new Map<string, string>();
  for (const pair of query.split('&')) {
    if (pair === '') continue;
    const [name, ...rest] = pair.split('=');
    parameters.set(decoded(name, 'parameters'), decoded(rest.join('='), 'parameters'));
  }
  return parameters;
}

/** `+` stays: libpq only knows percent escapes. */
function decoded(text: string, what: string): string {
  if (/%(?![0-9A-Fa-f]{2})/.test(text))
    throw new DatabaseUrlError(`has a % in its ${what} that begins no escape (write %25)`);
  if (text.includes('%00')) throw new DatabaseUrlError(`has %00 in its ${what}`);
  try {
    return decodeURIComponent(text);
  } catch {
    throw new DatabaseUrlError(`has escapes in its ${what} that are no UTF-8`);
  }
}

function wholeNumber(text: string, what: string, least: number, most: number): number {
  const value = /^\d{1,6}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= least && value <= most))
    throw new DatabaseUrlError(`${what} is not a number from ${least} to ${most}`);
  return value;
}
