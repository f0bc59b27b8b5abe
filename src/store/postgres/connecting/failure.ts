import type { ConnectOptions } from '../database-url.ts';
import { PooledSettingsError } from '../pooler.ts';
import type { Place } from '../conninfo/places.ts';

/** What a connection failure requires of the operator. Only `unreachable` may go away by itself. */
export type ConnectFailureKind =
  /** wrong password or none, no such role, rejected by pg_hba.conf */
  | 'password'
  /** no such database, or no privilege to connect to it */
  | 'database'
  /** certificate files, a certificate that does not verify, or a server without TLS although it is required */
  | 'tls'
  /** everything else: refused, timed out, starting up, too many connections, no server of the kind that is wanted */
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

/** For the error that connect() rejected with; by code, never by text. */
export function connectFailureKind(error: unknown): ConnectFailureKind {
  if (error instanceof ConnectError) return error.kind;
  const code = codeOf(error);
  if (code === '28P01' || code === '28000') return 'password';
  // 42501: the role lacks CONNECT on this database
  if (code === '3D000' || code === '42501') return 'database';
  return 'unreachable';
}

/** Where an attempt went, and how the server answered the request for TLS. */
export interface AttemptedPlace {
  options: ConnectOptions;
  place: Place;
  /** N: it has none; S: it has; '': no answer, or not asked */
  tlsAnswer: string;
  /** the server said that it has no TLS, or the handshake failed */
  tlsRefused: boolean;
}

export function connectError(error: unknown, attempted: AttemptedPlace): ConnectError {
  if (error instanceof ConnectError) return error;
  const { options, place, tlsAnswer, tlsRefused } = attempted;
  const target = targetOf(options, place);
  if (error instanceof PooledSettingsError) {
    return new ConnectError('database', undefined, `${target}: ${error.message}`);
  }
  const code = codeOf(error);
  if (tlsAnswer === 'N') {
    const message = `${target}: sslmode=${options.sslMode}, but the server has no TLS`;
    return new ConnectError('tls', code, message);
  }
  const isTls =
    code !== undefined &&
    (/^(ERR_SSL_|ERR_TLS_|EPROTO)/.test(code) || (tlsRefused && !/^E[A-Z]+$/.test(code)));
  const said = error instanceof Error ? error.message : String(error);
  const detail = said === '' ? '' : `: ${said}`;
  const text = `${target}${code === undefined ? '' : ` (${code})`}${detail}`;
  const password = options.password();
  const message = password === null || password === '' ? text : text.replaceAll(password, '***');
  return new ConnectError(isTls ? 'tls' : connectFailureKind(error), code, message);
}

/** Nobody of several was what is wanted. The kind and the code are those of the last one. */
export function noneOf(errors: readonly ConnectError[]): ConnectError {
  const last = errors[errors.length - 1];
  if (errors.length === 1) return last;
  return new ConnectError(last.kind, last.code, errors.map(({ message }) => message).join('; '));
}

export function targetOf({ user, database }: ConnectOptions, { host, port }: Place): string {
  return `${user}@${host}:${port}/${database}`;
}

export function codeOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : undefined;
}
