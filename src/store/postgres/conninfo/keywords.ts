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

/** The parts of a URL as written, undecoded; '' for an absent one. Several hosts and their ports are lists with commas. */
interface Parts {
  user: string;
  password: string;
  host: string;
  port: string;
  database: string;
  /** null: not even a question mark */
  query: string | null;
}

/** Values of libpq's keywords, decoded; '' means the same as none. */
export type Keywords = Map<string, string>;

/** Reads a URL like libpq: parameters override the parts before them, the last one of a name counts. @throws DatabaseUrlError */
export function readKeywords(url: string): Keywords {
  const { user, password, host, port, database, query } = cutUrl(url);
  const keywords: Keywords = new Map();
  const set = (keyword: string, value: string): void => {
    if (value !== '' || !keywords.has(keyword)) keywords.set(keyword, value);
  };
  set('user', decoded(user, 'user'));
  set('password', decoded(password, 'password'));
  set('host', decoded(host, 'host'));
  if (/[^,]/.test(port)) set('port', port);
  set('dbname', decoded(database, 'database'));
  for (const [name, value] of readParameters(query ?? '')) {
    if (name === 'ssl') set('sslmode', sslModeOf(value));
    else set(name, value);
  }
  return keywords;
}

/** The URL with further keywords, none of which it may have itself. */
export function withKeywords(url: string, more: Keywords): string {
  if (more.size === 0) return url;
  const pairs = [...more].map(([keyword, value]) => `${keyword}=${encodeURIComponent(value)}`);
  return `${url}${cutUrl(url).query === null ? '?' : '&'}${pairs.join('&')}`;
}

/** The secrets in a URL, as written and decoded; [] when it cannot be parsed, or the password equals another word of the URL. */
export function databaseUrlSecrets(url: string): string[] {
  try {
    const { user, password, host, database, query } = cutUrl(url);
    const parameters = readParameters(query ?? '');
    const words = ['', 'postgres', 'postgresql', user, host, database];
    const secrets = [password, decoded(password, 'password')];
    secrets.push(parameters.get('password') ?? '', parameters.get('sslpassword') ?? '');
    return secrets.filter((secret) => !words.includes(secret));
  } catch {
    return [];
  }
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
  const [, netloc = '', path = '', query = null] = /^([^/?]*)(?:\/([^?]*))?(?:\?(.*))?$/s.exec(rest) ?? [];
  if (netloc.includes('@') || path.includes('@')) {
    throw new DatabaseUrlError('is no valid URL: write @ and / in a password as %40 and %2F');
  }
  const places = netloc.split(',').map((text) => /^(?:\[([^\]]+)\]|([^:[]*))(?::(.*))?$/s.exec(text));
  if (places.some((place) => place === null))
    throw new DatabaseUrlError('is no valid URL: an IPv6 address is written as [::1]');
  const host = places.map((place) => place?.[1] ?? place?.[2] ?? '').join(',');
  const port = places.map((place) => place?.[3] ?? '').join(',');
  return { user, password, host, port, database: path, query };
}

/** `ssl` is no keyword of libpq, except that it takes ssl=true, as JDBC writes it, for sslmode=require. */
function sslModeOf(value: string): string {
  if (/^(true|1|require)$/.test(value)) return 'require';
  throw new DatabaseUrlError('has ssl with another value than true, 1 or require: use sslmode');
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
