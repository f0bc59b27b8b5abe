import type { Env } from '../../core/env.ts';
import { pause } from '../../core/wait.ts';
import type { ConnectionOptions } from 'node:tls';
import { Redis } from 'ioredis';
import { backoffMs } from '../../core/retry.ts';
import { shareTimeAmongAddresses } from '../addresses.ts';
import { BusError } from '../bus.ts';
import { isServerAway, replyWord, toBusError } from './errors.ts';

const CONNECT_TIMEOUT_MS = 5000;
const BACKOFF = { firstMs: 50, maxMs: 2000 };
/** time to find an answer that arrived while this process was suspended, ms */
const LATE_ANSWER_MS = 100;

export interface RedisConnectionOptions {
  /** redis:// or rediss://, with user, password and database */
  uri: string;
  /** of a rediss:// connection */
  tls: ConnectionOptions | undefined;
  /** shown by CLIENT LIST */
  name: string;
  env: Env;
}

/**
 * One connection that is made again when it is lost. ioredis neither reconnects nor queues nor resends here: the caller gets
 * the error and calls again, and a call waits out the backoff first, so that no caller's loop can spin.
 */
export class RedisConnection {
  readonly #options: RedisConnectionOptions;
  readonly #closing = new AbortController();
  #client: Redis | null = null;
  #connecting: Promise<Redis> | null = null;
  #failures = 0;
  #notBeforeMs = 0;

  constructor(options: RedisConnectionOptions) {
    this.#options = options;
  }

  get isClosed(): boolean {
    return this.#closing.signal.aborted;
  }

  /**
   * Runs commands on the connection. When nothing at all arrives for `silenceMs` while they are under way, the connection
   * is given up: it may be half open. Rejects with BusError, or with an error reply as ioredis has it.
   */
  async run<T>(silenceMs: number, work: (client: Redis) => Promise<T>): Promise<T> {
    const client = await this.#ready();
    const silent = Promise.withResolvers<never>();
    const stopWatch = watch(client, silenceMs, () => {
      silent.reject(new BusError('unreachable', `Redis said nothing for ${silenceMs} ms`));
      destroy(client);
    });
    try {
      const answer = await Promise.race([work(client), silent.promise]);
      this.#succeeded();
      return answer;
    } catch (error) {
      const isReply = replyWord(error) !== null;
      // after a failover the server's name may resolve to another one
      if (!isReply || isServerAway(error)) this.#lost(client, error);
      else this.#succeeded();
      throw isReply ? error : toBusError(error, 'Redis');
    } finally {
      stopWatch();
    }
  }

  /** Ends the connection and every call under way. */
  close(): void {
    this.#closing.abort();
    if (this.#client !== null) destroy(this.#client);
    this.#client = null;
  }

  async #ready(): Promise<Redis> {
    if (this.#client?.status === 'ready') return this.#client;
    this.#connecting ??= this.#connect().finally(() => (this.#connecting = null));
    return this.#connecting;
  }

  /** Waits out the backoff first. */
  async #connect(): Promise<Redis> {
    const waitMs = this.#notBeforeMs - this.#options.env.clock.monotonicMs();
    if (waitMs > 0) await pause(waitMs, this.#closing.signal);
    if (this.isClosed) throw new BusError('unreachable', 'this bus is closed');
    const { uri, tls } = this.#options;
    shareTimeAmongAddresses(CONNECT_TIMEOUT_MS);
    const client = new Redis(uri, {
      ...(uri.startsWith('rediss:') && tls !== undefined ? { tls } : {}),
      connectionName: this.#options.name,
      lazyConnect: true,
      retryStrategy: () => null,
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      enableReadyCheck: false,
      disableClientInfo: true, // servers before 7.2 do not know it
      connectTimeout: CONNECT_TIMEOUT_MS,
      keepAlive: 10_000,
    });
    let failure: Error | null = null;
    client.on('error', (error: Error) => (failure = error));
    const abort = (): void => destroy(client);
    this.#closing.signal.addEventListener('abort', abort, { once: true });
    const tooLate = setTimeout(abort, CONNECT_TIMEOUT_MS); // a server may accept the connection and never answer
    try {
      await client.connect();
      // such as a database that does not exist: ioredis would go on with another one
      if (failure !== null) throw failure as Error;
    } catch (error) {
      destroy(client);
      const cause: unknown = failure ?? error;
      if (!this.isClosed) this.#failed(cause);
      // sent before it hung up: too many clients, which passes by itself
      const isRefusal = error !== failure && replyWord(failure) === 'ERR';
      throw isRefusal ? new BusError('unreachable', messageOf(cause), cause) : toBusError(cause, 'Redis');
    } finally {
      clearTimeout(tooLate);
      this.#closing.signal.removeEventListener('abort', abort);
    }
    if (this.isClosed) {
      destroy(client);
      throw new BusError('unreachable', 'this bus is closed');
    }
    this.#client = client;
    return client;
  }

  #succeeded(): void {
    if (this.#failures === 0) return;
    if (this.#failures > 1)
      this.#options.env.log('info', 'Redis answers again', { connection: this.#options.name });
    this.#failures = 0;
  }

  /** Called by every call under way on the connection; counts as one failure. */
  #lost(client: Redis, error: unknown): void {
    destroy(client);
    if (this.#client !== client || this.isClosed) return;
    this.#client = null;
    this.#failed(error);
  }

  #failed(error: unknown): void {
    const waitMs = backoffMs(this.#failures, BACKOFF, this.#options.env.random());
    this.#notBeforeMs = this.#options.env.clock.monotonicMs() + waitMs;
    this.#failures += 1;
    if (this.#failures !== 2) return;
    const fields = { connection: this.#options.name, error: messageOf(error) };
    this.#options.env.log('warn', 'Redis cannot be reached, trying again', fields);
  }
}

/** Calls `onSilence` when no byte arrives for silenceMs. @returns a function that ends the watch */
function watch(client: Redis, silenceMs: number, onSilence: () => void): () => void {
  let seen = client.stream.bytesRead;
  let timer = setTimeout(look, silenceMs);
  let isSecond = false;
  function look(): void {
    const now = client.stream.bytesRead;
    if (now === seen && isSecond) return onSilence();
    isSecond = now === seen;
    seen = now;
    timer = setTimeout(look, isSecond ? LATE_ANSWER_MS : silenceMs);
  }
  return () => clearTimeout(timer);
}

/** At once, without QUIT: a peer that has vanished would not answer it. */
function destroy(client: Redis): void {
  const stream = client.stream as typeof client.stream | undefined;
  if (stream === undefined) client.disconnect();
  else stream.destroy();
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
