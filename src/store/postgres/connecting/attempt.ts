import { type NetConnectOpts, type Socket } from 'node:net';
import { Client, TypeOverrides, type ClientConfig } from 'pg';
import type { Place } from '../conninfo/places.ts';
import type { ConnectOptions } from '../database-url.ts';
import { keepLastWords } from '../last-words.ts';
import { checkSettings, lookForPooler } from '../pooler.ts';
import { pinSettings } from '../session-settings.ts';
import { Authentication } from './authentication.ts';
import { watchEncoding } from './encoding.ts';
import { codeOf, connectError, ConnectError, targetOf } from './failure.ts';
import { openFirst } from './race.ts';
import { isWanted } from './target-session.ts';
import { tlsOptions } from './tls-options.ts';

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

/** What is tried, and where. */
export interface Try {
  options: ConnectOptions;
  session: SessionOptions;
  place: Place;
  /** where the place is: the first of them that answers */
  addresses: readonly NetConnectOpts[];
  wanted: ConnectOptions['targetSession'];
  transport: 'plain' | 'tls';
  /** false: a pooler may know no `options` */
  sendsOptions: boolean;
}

export interface Failure {
  error: ConnectError;
  sqlstate: string | undefined;
  /** the server said that it has no TLS, or the handshake failed */
  tlsRefused: boolean;
}

/** One attempt to open a session. `signal` ends it, with its reason as the error. */
export async function attempt(what: Try, signal: AbortSignal): Promise<Client | Failure> {
  const { options, session, place, transport } = what;
  let client: Client | null = null;
  let isEstablished = false;
  let isLost = false;
  // The server answers the request for TLS with one byte; pg turns N into an error without a code.
  let tlsAnswer = '';
  let tlsEstablished = false;
  const abort = (): void => {
    client?.connection.stream.destroy(signal.reason as Error);
  };
  signal.addEventListener('abort', abort);
  try {
    const authentication = new Authentication(options, place);
    const opened = await openClient(what, authentication, signal);
    client = opened;
    if (signal.aborted) throw signal.reason;
    keepLastWords(opened);
    // Without a listener an error of an idle connection would end the process.
    opened.on('error', (error) => {
      if (!isEstablished || isLost) return;
      isLost = true;
      session.onLost?.(error);
    });
    if (transport === 'tls' && options.sslNegotiation === 'postgres')
      opened.connection.stream.once('data', (bytes: Buffer) => (tlsAnswer = bytes.toString('latin1')));
    opened.connection.once('sslconnect', () => {
      opened.connection.stream.once('secureConnect', () => (tlsEstablished = true));
    });
    const unfitEncoding = watchEncoding(opened);
    await opened.connect();
    authentication.checkDone();
    checkEncoding(unfitEncoding(), what);
    await checkWanted(opened, what);
    await settle(opened, what, signal);
    isEstablished = true;
    return opened;
  } catch (caught) {
    client?.connection.stream.destroy();
    // pg has errors of its own for a connection that was ended
    const error: unknown = signal.aborted ? signal.reason : caught;
    const tlsRefused = transport === 'tls' && (tlsAnswer === 'N' || (tlsAnswer === 'S' && !tlsEstablished));
    return {
      error: connectError(error, { options, place, tlsAnswer, tlsRefused }),
      sqlstate: codeOf(error),
      tlsRefused,
    };
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

/** Its settings are ours. */
async function settle(client: Client, what: Try, signal: AbortSignal): Promise<void> {
  const { options, session, place } = what;
  const settings = {
    serverOptions: options.serverOptions,
    statementTimeoutMs: session.statementTimeoutMs ?? 0,
    idleInTransactionTimeoutMs: session.idleInTransactionTimeoutMs ?? 60_000,
  };
  const openAnother = async (): Promise<Client> => {
    const other = await openClient(what, new Authentication(options, place), signal);
    other.on('error', () => {});
    await other.connect();
    return other;
  };
  const isSetByPooler = (await lookForPooler(client)) && (await checkSettings(client, settings, openAnother));
  if (!isSetByPooler) await pinSettings(client, settings);
}

/** A text that it cannot hold would be refused row by row. */
function checkEncoding(unfit: string | null, { options, place }: Try): void {
  if (unfit === null) return;
  const remedy = "CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0";
  const message = `${targetOf(options, place)}: the encoding of this database is ${unfit}, which cannot hold every text; use a database with UTF8 (${remedy})`;
  throw new ConnectError('database', undefined, message);
}

async function checkWanted(client: Client, { options, place, wanted }: Try): Promise<void> {
  if (wanted === 'any' || (await isWanted(client, wanted))) return;
  const message = `${targetOf(options, place)}: no server as target_session_attrs=${options.targetSession} wants it`;
  throw new ConnectError('unreachable', undefined, message);
}

/** A client whose socket is open and whose session is not. */
async function openClient(
  { options, session, place, addresses, transport, sendsOptions }: Try,
  authentication: Authentication,
  signal: AbortSignal,
): Promise<Client> {
  const ssl = transport === 'tls' ? tlsOptions(options, place) : false;
  const socket = await openFirst(addresses, signal);
  const config: ClientConfig & { sslnegotiation: string; enableChannelBinding: boolean } = {
    host: place.host,
    port: place.port,
    user: options.user,
    database: options.database,
    password: () => authentication.password(),
    ssl,
    sslnegotiation: transport === 'tls' ? options.sslNegotiation : 'postgres',
    enableChannelBinding: options.requiresChannelBinding && transport === 'tls',
    application_name: options.applicationName ?? session.applicationName,
    stream: () => openAlready(socket),
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    types: TEXT_TYPES,
  };
  const client = new Client(config);
  // pg reads variables of libpq where it is given nothing; ours are in the URL (conninfo/environment.ts)
  const { connectionParameters } = client as unknown as {
    connectionParameters: Record<'options' | 'replication', string | undefined>;
  };
  connectionParameters.options = sendsOptions ? (options.serverOptions ?? undefined) : undefined;
  connectionParameters.replication = undefined;
  authentication.watch(client);
  return client;
}

/** pg connects the socket that it is given, and waits for the event. */
function openAlready(socket: Socket): Socket {
  const connect = (): Socket => {
    process.nextTick(() => socket.emit('connect'));
    return socket;
  };
  return Object.assign(socket, { connect });
}

/** date, time, timestamp, timestamptz, interval, timetz and the arrays of the first four that pg would parse */
const TEXT_OIDS = [1082, 1083, 1114, 1184, 1186, 1266, 1115, 1182, 1183, 1185, 1187];
const asText = (value: string): string => value;
const TEXT_TYPES = new TypeOverrides();
for (const oid of TEXT_OIDS) TEXT_TYPES.setTypeParser(oid, asText);
