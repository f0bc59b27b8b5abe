import { randomInt } from 'node:crypto';
import type { NetConnectOpts } from 'node:net';
import { Client } from 'pg';
import { addressesOf, isSocketFolder } from './connecting/addresses.ts';
import { attempt, type Failure, type SessionOptions, type Try } from './connecting/attempt.ts';
import { connectError, noneOf, type ConnectError } from './connecting/failure.ts';
import type { Place } from './conninfo/places.ts';
import type { ConnectOptions, TargetSession } from './database-url.ts';

export { parseDatabaseUrl } from './database-url.ts';
export type { SessionOptions } from './connecting/attempt.ts';
export { ConnectError, connectFailureKind, type ConnectFailureKind } from './connecting/failure.ts';

/**
 * One session, with every setting that the rest of the program relies on (session-settings.ts), whatever the defaults of
 * database and role are. Commits are durable unless a transaction asks for another one. Values arrive as text where no
 * JavaScript type holds them: int8 and numeric (strings), timestamptz, timestamp, date and time (never a Date; ISO, UTC).
 *
 * Several places are tried one after the other, as libpq: until one can be reached and is what target_session_attrs wants; a
 * refused password, database or certificate ends the search. Of a name with several addresses the first one that answers is
 * taken; where the server must be of a kind, each one is asked.
 *
 * TLS by sslmode, as libpq: disable never, allow when plaintext is refused, prefer (default) unless TLS is refused,
 * require always but unverified (verified like verify-ca where there is an authority to verify by), verify-ca by the
 * authority, verify-full by authority and host name.
 *
 * Rejects with ConnectError.
 */
export async function connect(options: ConnectOptions, session: SessionOptions): Promise<Client> {
  const { targetSession } = options;
  const rounds: TargetSession[] = targetSession === 'prefer-standby' ? ['standby', 'any'] : [targetSession];
  const places = options.isShuffled ? shuffled(options.places) : options.places;
  let errors: ConnectError[] = [];
  for (const wanted of rounds) {
    errors = [];
    for (const place of places) {
      const found = await connectTo(place, wanted, options, session);
      if (found instanceof Client) return found;
      errors.push(...found);
      if (found.some(({ kind }) => kind !== 'unreachable')) break;
    }
  }
  throw noneOf(errors);
}

/** Rejects never. */
async function connectTo(
  place: Place,
  wanted: TargetSession,
  options: ConnectOptions,
  session: SessionOptions,
): Promise<Client | ConnectError[]> {
  const each = (addresses: readonly NetConnectOpts[], signal: AbortSignal): Promise<Client | ConnectError> =>
    anyTransport(
      { options, session, place, addresses, wanted, transport: 'plain', sendsOptions: true },
      signal,
    );
  let addresses: NetConnectOpts[] = [];
  const first = await within(options, place, async (signal) => {
    addresses = await addressesOf(place, signal);
    if (options.isShuffled) addresses = shuffled(addresses);
    return each(wanted === 'any' ? addresses : addresses.slice(0, 1), signal);
  });
  if (first instanceof Client) return first;
  const errors = [first];
  // each of them may be another server
  for (const address of wanted === 'any' ? [] : addresses.slice(1)) {
    if (errors.some(({ kind }) => kind !== 'unreachable')) break;
    const next = await within(options, place, (signal) => each([address], signal));
    if (next instanceof Client) return next;
    errors.push(next);
  }
  return errors;
}

/** Within connect_timeout, all of it. */
async function within(
  options: ConnectOptions,
  place: Place,
  work: (signal: AbortSignal) => Promise<Client | ConnectError>,
): Promise<Client | ConnectError> {
  const { connectTimeoutMs } = options;
  const timeout = new AbortController();
  const timer = setTimeout(() => {
    const message = `not connected within ${connectTimeoutMs} ms`;
    timeout.abort(Object.assign(new Error(message), { code: 'ETIMEDOUT' }));
  }, connectTimeoutMs);
  try {
    return await work(timeout.signal);
  } catch (error) {
    return connectError(error, { options, place, tlsAnswer: '', tlsRefused: false });
  } finally {
    clearTimeout(timer);
  }
}

async function anyTransport(what: Try, signal: AbortSignal): Promise<Client | ConnectError> {
  const { options, place } = what;
  const { sslMode } = options;
  const isSocket = isSocketFolder(place);
  const first = isSocket || sslMode === 'disable' || sslMode === 'allow' ? 'plain' : 'tls';
  const attempted = await attempt({ ...what, transport: first }, signal);
  if (attempted instanceof Client) return attempted;
  // a pooler may know no `options`; whether the session is what they ask for is seen then
  if (attempted.sqlstate === '08P01' && options.serverOptions !== null) {
    const without = await attempt({ ...what, transport: first, sendsOptions: false }, signal);
    if (without instanceof Client) return without;
    if (without.sqlstate !== '08P01') return without.error;
  }
  if (isSocket || !mayChange(sslMode, attempted)) return attempted.error;
  const second = await attempt({ ...what, transport: first === 'tls' ? 'plain' : 'tls' }, signal);
  return second instanceof Client ? second : second.error;
}

function mayChange(sslMode: ConnectOptions['sslMode'], { tlsRefused, sqlstate }: Failure): boolean {
  if (sslMode === 'prefer') return tlsRefused || sqlstate === '28000';
  return sslMode === 'allow' && sqlstate === '28000';
}

function shuffled<T>(list: readonly T[]): T[] {
  const rest = [...list];
  return Array.from(list, () => rest.splice(randomInt(rest.length), 1)[0]);
}
