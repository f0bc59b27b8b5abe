import { homeFile, systemUser } from './conninfo/account.ts';
import { DatabaseUrlError, readKeywords, type Keywords } from './conninfo/keywords.ts';
import { readPlaces, type Place } from './conninfo/places.ts';
import { readTls, type TlsParameters } from './conninfo/tls.ts';

const SESSIONS = ['any', 'read-write', 'read-only', 'primary', 'standby', 'prefer-standby'] as const;
/** target_session_attrs: what the server must be, so that the session counts as one. */
export type TargetSession = (typeof SESSIONS)[number];

export interface ConnectOptions extends TlsParameters {
  /** in the order in which they are tried */
  places: readonly [Place, ...Place[]];
  /** load_balance_hosts=random: in another order each time */
  isShuffled: boolean;
  targetSession: TargetSession;
  user: string;
  database: string;
  /** A function, so that no logger, inspector or JSON prints it. null: the password file is asked. */
  password: () => string | null;
  /** null: there is no home folder */
  passwordFile: string | null;
  /** nothing but SCRAM that is bound to the server's certificate, so that nobody in between can pass it on */
  requiresChannelBinding: boolean;
  /** covers all of connecting to a place: name lookup, TCP, TLS, authentication */
  connectTimeoutMs: number;
  /** server settings of the URL, e.g. -csearch_path=tenant */
  serverOptions: string | null;
  applicationName: string | null;
}

const CONNECT_TIMEOUT_MS = 10_000;

/** Known to libpq or handed out with URLs of hosted databases, but without a meaning for this program or covered by its defaults. */
const IGNORED_PARAMETERS = new Set([
  'client_encoding', // always UTF8
  'fallback_application_name',
  'gssdelegation',
  'gssencmode', // prefer and disable are what happens; require is refused below
  'gsslib',
  'keepalives', // always on, with our own times
  'keepalives_count',
  'keepalives_idle',
  'keepalives_interval',
  'krbsrvname',
  'max_protocol_version',
  'pgbouncer', // poolers are found by looking
  'servicefile',
  'sslcompression',
  'sslsni',
  'tcp_user_timeout',
  'uselibpqcompat', // node-postgres: what happens here anyway
]);

/**
 * The only parser of database URLs: reads postgres://user:password@host:port/database?parameters like libpq, but none of its
 * variables (completeDatabaseUrl). Parameters override the parts before them.
 * @throws DatabaseUrlError
 */
export function parseDatabaseUrl(url: string): ConnectOptions {
  const keywords = readKeywords(url);
  const places = readPlaces(keywords);
  for (const keyword of ['host', 'hostaddr', 'port']) keywords.delete(keyword);
  const take = (keyword: string): string | null => {
    const value = keywords.get(keyword) ?? '';
    keywords.delete(keyword);
    return value === '' ? null : value;
  };
  const user = take('user') ?? systemUser();
  if (user === null) {
    throw new DatabaseUrlError(
      'names no user, and neither does the system: this uid has no entry in /etc/passwd. Name one in it or by PGUSER',
    );
  }
  const password = take('password');
  const options: ConnectOptions = {
    places,
    isShuffled: oneOf(take, 'load_balance_hosts', ['disable', 'random']) === 'random',
    targetSession: oneOf(take, 'target_session_attrs', SESSIONS),
    user,
    database: take('dbname') ?? user,
    password: () => password,
    passwordFile: take('passfile') ?? homeFile('.pgpass'),
    requiresChannelBinding: oneOf(take, 'channel_binding', ['prefer', 'disable', 'require']) === 'require',
    ...readTls(take),
    connectTimeoutMs: readTimeout(take('connect_timeout')),
    serverOptions: take('options'),
    applicationName: take('application_name'),
  };
  if (options.requiresChannelBinding && /^(disable|allow)$/.test(options.sslMode))
    throw new DatabaseUrlError(
      `has channel_binding=require, which needs TLS, with sslmode=${options.sslMode}`,
    );
  refuseUnsupported(keywords);
  return options;
}

/** The first of `values` is the default. */
function oneOf<T extends string>(
  take: (keyword: string) => string | null,
  keyword: string,
  values: readonly T[],
): T {
  const given = take(keyword) ?? values[0];
  const value = values.find((each) => each === given);
  if (value === undefined)
    throw new DatabaseUrlError(`has an unknown ${keyword} (known: ${values.join(', ')})`);
  return value;
}

function readTimeout(text: string | null): number {
  if (text === null) return CONNECT_TIMEOUT_MS;
  const seconds = /^-?\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (!(seconds <= SECONDS_MAX))
    throw new DatabaseUrlError(`is no valid URL: its connect_timeout is no number up to ${SECONDS_MAX}`);
  // libpq: what is not positive waits without a limit, which a service that reports its state must not
  return seconds <= 0 ? CONNECT_TIMEOUT_MS : seconds * 1000;
}
const SECONDS_MAX = 3600;

function refuseUnsupported(keywords: Keywords): void {
  if (keywords.get('gssencmode') === 'require')
    throw new DatabaseUrlError('has gssencmode=require, which is not supported');
  if (!/^(3\.0)?$/.test(keywords.get('min_protocol_version') ?? ''))
    throw new DatabaseUrlError(
      'has min_protocol_version with another value than 3.0, which is not supported',
    );
  for (const name of keywords.keys()) {
    if (IGNORED_PARAMETERS.has(name) || name === 'min_protocol_version') continue;
    // if the URL is malformed elsewhere this may be a piece of a password
    const shown = /^[a-z_]{1,30}$/.test(name) ? name : '(unreadable)';
    const hint = INSTEAD.get(name) ?? '';
    throw new DatabaseUrlError(`has the parameter ${shown} that is not supported${hint}`);
  }
}

/** What to write instead of what other clients have. */
const INSTEAD = new Map([
  ['schema', ': use options=-csearch_path%3DNAME'],
  ['connection_limit', ': use DB_MAX_CONNECTIONS'],
  ['service', ': name host, user and database'],
]);
