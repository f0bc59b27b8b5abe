import { readFileSync } from 'node:fs';
import { getCACertificates, type ConnectionOptions as TlsOptions } from 'node:tls';
import { Client, TypeOverrides } from 'pg';
import type { ConnectOptions } from './database-url.ts';
import { keepLastWords } from './last-words.ts';
import { checkSettings, lookForPooler, PooledSettingsError } from './pooler.ts';
import { pinSettings } from './session-settings.ts';

export { parseDatabaseUrl } from './database-url.ts';

/** What a connection failure requires of the operator. Only `unreachable` may go away by itself. */
export type ConnectFailureKind =
  /** wrong password, no such role, rejected by pg_hba.conf */
  | 'password'
  /** no such database, or no privilege to connect to it */
  | 'database'
  /** certificate files, a certificate that does not verify, or a server without TLS although it is required */
  | 'tls'
  /** everything else: refused, timed out, starting up, too many connections */
  | 'unreachable';

/** The message names the server and never a password. */
export class ConnectError extends Error {
  override name = 'ConnectError';
  readonly kind: ConnectFailureKind;
  /** SQLSTATE of the server, or the code of the system or of TLS, e.g. ECONNREFUSED */
  readonly code: string | undefined;

  constructor(kind: ConnectFailureKind, code: string | undefined, message: string) {
    super(message);
    this.kind = kind;
    this.code = code;
  }
}

export interface SessionOptions {
  /** shown in pg_stat_activity; one set in the URL takes precedence */
  applicationName: string;
  /** Called once when an established connection is lost (not after end()); queries in flight reject as well. */
  onLost?: (error: Error) => void;
  /** ms, 0 (default): none. It does not end a COPY FROM STDIN whose client is silent. */
  statementTimeoutMs?: number;
  /** ms, 0: none. Default 60 s: a frozen client must not hold locks without a limit. */
  idleInTransactionTimeoutMs?: number;
}

/**
 * One session, with every setting that the rest of the program relies on (session-settings.ts), whatever the defaults of
 * database and role are. Commits are durable unless a transaction asks for another one. Values arrive as text where no
 * JavaScript type holds them: int8 and numeric (strings), timestamptz, timestamp, date and time (never a Date; ISO, UTC).
 *
 * TLS by sslmode, as libpq: disable never, allow when plaintext is refused, prefer (default) unless TLS is refused,
 * require always but unverified (verified like verify-ca when sslrootcert is given), verify-ca by the authority,
 * verify-full by authority and host name.
 *
 * Rejects with ConnectError.
 */
export async function connect(options: ConnectOptions, session: SessionOptions): Promise<Client> {
  const first =
    options.host.startsWith('/') || options.sslMode === 'disable' || options.sslMode === 'allow'
      ? 'plain'
      : 'tls';
  const attempt = await tryConnect(options, session, first);
  if (attempt instanceof Client) return attempt;
  // a pooler may know no `options`; whether the session is what they ask for is seen then
  if (attempt.sqlstate === '08P01' && options.serverOptions !== null) {
    const without = await tryConnect(options, session, first, false);
    if (without instanceof Client) return without;
    if (without.sqlstate !== '08P01') throw without.error;
  }
  const mayChange =
    !options.host.startsWith('/') &&
    ((options.sslMode === 'prefer' && (attempt.tlsRefused || attempt.sqlstate === '28000')) ||
      (options.sslMode === 'allow' && attempt.sqlstate === '28000'));
  if (!mayChange) throw attempt.error;
  const second = await tryConnect(options, session, first === 'tls' ? 'plain' : 'tls');
  if (second instanceof Client) return second;
  throw second.error;
}

/** For the error that connect() rejected with; by code, never by text. */
export function connectFailureKind(error: unknown): ConnectFailureKind {
  if (error instanceof ConnectError) return error.kind;
  const code = codeOf(error);
  if (code === '28P01' || code === '28000') return 'password';
  // 42501: the role lacks CONNECT on this database
  if (code === '3D000' || code === '42501') return 'database';
  return 'unreachable';
}

interface Failure {
  error: ConnectError;
  sqlstate: string | undefined;
  /** the server said that it has no TLS, or the handshake failed */
  tlsRefused: boolean;
}

async function tryConnect(
  options: ConnectOptions,
  session: SessionOptions,
  transport: 'plain' | 'tls',
  sendsOptions = true,
): Promise<Client | Failure> {
  const ssl = transport === 'tls' ? tlsOptions(options) : false;
  const config = {
    host: options.host,
    port: options.port,
    user: options.user,
    database: options.database,
    password: options.password() ?? undefined,
    ssl,
    application_name: options.applicationName ?? session.applicationName,
    options: sendsOptions ? (options.serverOptions ?? undefined) : undefined,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    types: TEXT_TYPES,
  };
  const client = new Client(config);
  let isEstablished = false;
  let isLost = false;
  keepLastWords(client);
  // Without a listener an error of an idle connection would end the process.
  client.on('error', (error) => {
    if (!isEstablished || isLost) return;
    isLost = true;
    session.onLost?.(error);
  });
  // The server answers the request for TLS with one byte; pg turns N into an error without a code.
  let tlsAnswer = '';
  if (ssl !== false)
    client.connection.stream.once('data', (bytes: Buffer) => (tlsAnswer = bytes.toString('latin1')));
  let tlsEstablished = false;
  client.connection.once('sslconnect', () => {
    client.connection.stream.once('secureConnect', () => (tlsEstablished = true));
  });
  const timer = setTimeout(() => {
    const message = `not connected within ${options.connectTimeoutMs} ms`;
    client.connection.stream.destroy(Object.assign(new Error(message), { code: 'ETIMEDOUT' }));
  }, options.connectTimeoutMs);
  try {
    await client.connect();
    const settings = {
      serverOptions: options.serverOptions,
      statementTimeoutMs: session.statementTimeoutMs ?? 0,
      idleInTransactionTimeoutMs: session.idleInTransactionTimeoutMs ?? 60_000,
    };
    const openAnother = async (): Promise<Client> => {
      const other = new Client(config);
      other.on('error', () => {});
      await other.connect();
      return other;
    };
    const isSetByPooler =
      (await lookForPooler(client)) && (await checkSettings(client, settings, openAnother));
    if (!isSetByPooler) await pinSettings(client, settings);
    isEstablished = true;
    return client;
  } catch (error) {
    client.connection.stream.destroy();
    const tlsRefused = ssl !== false && (tlsAnswer === 'N' || (tlsAnswer === 'S' && !tlsEstablished));
    return {
      error: connectError(options, error, tlsAnswer, tlsRefused),
      sqlstate: codeOf(error),
      tlsRefused,
    };
  } finally {
    clearTimeout(timer);
  }
}

/** date, time, timestamp, timestamptz, interval, timetz and the arrays of the first four that pg would parse */
const TEXT_OIDS = [1082, 1083, 1114, 1184, 1186, 1266, 1115, 1182, 1183, 1185, 1187];
const asText = (value: string): string => value;
const TEXT_TYPES = new TypeOverrides();
for (const oid of TEXT_OIDS) TEXT_TYPES.setTypeParser(oid, asText);

/** Files are read at each attempt: a renewed certificate is used by the next connection. */
function tlsOptions(options: ConnectOptions): TlsOptions {
  const { sslMode, sslRootCert, sslClient } = options;
  const verifies = sslMode.startsWith('verify-') || (sslMode === 'require' && sslRootCert !== null);
  const tls: TlsOptions = { rejectUnauthorized: verifies, minVersion: 'TLSv1.2' };
  if (verifies && sslRootCert !== null) {
    tls.ca =
      sslRootCert === 'system' ? getCACertificates('system') : readPem(options, sslRootCert, 'sslrootcert');
  }
  // a certificate of the right authority is enough unless the name is checked too
  if (verifies && sslMode !== 'verify-full') tls.checkServerIdentity = () => undefined;
  if (sslClient !== null) {
    tls.cert = readPem(options, sslClient.cert, 'sslcert');
    tls.key = readPem(options, sslClient.key, 'sslkey');
    const passphrase = sslClient.passphrase();
    if (passphrase !== null) tls.passphrase = passphrase;
  }
  return tls;
}

function readPem(options: ConnectOptions, path: string, parameter: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const hint = parameter === 'sslrootcert' ? ': name the file of the authority, or sslrootcert=system' : '';
    const message = `${target(options)}: ${parameter} ${path} cannot be read (${codeOf(error)})${hint}`;
    throw new ConnectError('tls', codeOf(error), message);
  }
}

function connectError(
  options: ConnectOptions,
  error: unknown,
  tlsAnswer: string,
  tlsRefused: boolean,
): ConnectError {
  if (error instanceof ConnectError) return error;
  if (error instanceof PooledSettingsError) {
    return new ConnectError('database', undefined, `${target(options)}: ${error.message}`);
  }
  const code = codeOf(error);
  if (tlsAnswer === 'N') {
    return new ConnectError(
      'tls',
      code,
      `${target(options)}: sslmode=${options.sslMode}, but the server has no TLS`,
    );
  }
  const isTls =
    code !== undefined &&
    (/^(ERR_SSL_|ERR_TLS_|EPROTO)/.test(code) || (tlsRefused && !/^E[A-Z]+$/.test(code)));
  const said = error instanceof Error ? error.message : String(error);
  // an AggregateError (a name with several addresses) has no message of its own
  const detail = said === '' ? '' : `: ${said}`;
  const text = `${target(options)}${code === undefined ? '' : ` (${code})`}${detail}`;
  const password = options.password();
  const message = password === null || password === '' ? text : text.replaceAll(password, '***');
  return new ConnectError(isTls ? 'tls' : connectFailureKind(error), code, message);
}

function codeOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : undefined;
}

function target({ user, host, port, database }: ConnectOptions): string {
  return `${user}@${host}:${port}/${database}`;
}
