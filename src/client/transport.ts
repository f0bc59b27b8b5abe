import { pause } from '../core/wait.ts';
import { ApiError, errorOf } from './api-error.ts';
import { ATTEMPTS_MAX, retryDelayMs } from './retry.ts';

/** What a query sends; undefined is left out, lists are joined by commas. */
export type QueryValues = Readonly<Record<string, QueryValue>>;

export type QueryValue = string | number | bigint | boolean | readonly string[] | null | undefined;

export interface ClientOptions {
  /** where the API is, with the path that a proxy puts before it: `http://127.0.0.1:8083`, `https://host/market` */
  url: string | URL;
  /** sent as bearer token; without one only what is open answers */
  token?: string;
  /** default: the platform's */
  fetch?: typeof fetch;
  /** how long an answer may take to begin, and a page to end, ms */
  timeoutMs?: number;
  /** how often a request is sent when the server is away or busy; 1: once. Of a live feed its first connection */
  attemptsMax?: number;
  /** in [0, 1): jitter of waits */
  random?: () => number;
}

export interface CallOptions {
  /** ends the call; it then rejects with the signal's reason */
  signal?: AbortSignal | undefined;
}

export interface Request {
  method: 'GET' | 'POST';
  /** below the url, without a slash in front: `v1/bars` */
  path: string;
  query?: QueryValues;
  headers?: Readonly<Record<string, string>>;
  /** JSON */
  body?: string;
}

const TIMEOUT_MS = 30_000;

/** Sends requests: address, token, time limits, and repetition of what may be repeated. */
export class Transport {
  readonly timeoutMs: number;
  readonly attemptsMax: number;
  readonly random: () => number;
  readonly #base: URL;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #fetch: typeof fetch;

  /** @throws TypeError for a url that is none of HTTP, or has a user, a query or a fragment */
  constructor(options: ClientOptions) {
    this.#base = baseOf(options.url);
    this.#headers = options.token === undefined ? {} : { authorization: `Bearer ${options.token}` };
    // a browser's fetch wants to be called without a receiver
    const send = options.fetch ?? globalThis.fetch;
    this.#fetch = (input, init) => send(input, init);
    this.timeoutMs = options.timeoutMs ?? TIMEOUT_MS;
    this.attemptsMax = options.attemptsMax ?? ATTEMPTS_MAX;
    this.random = options.random ?? Math.random;
  }

  /** The JSON of an answer. Rejects with ApiError, or with the reason of the signal. */
  json(request: Request, { signal }: CallOptions = {}): Promise<unknown> {
    return this.#repeat(signal, async () => {
      const attempt = this.attempt(request, signal);
      try {
        const response = await attempt.response;
        return await attempt.while(response.json());
      } finally {
        attempt.end();
      }
    });
  }

  /** An answer whose body is still to be read, at the pace of who reads. What breaks it off fails the reader with ApiError. */
  open(
    request: Request,
    { signal }: CallOptions = {},
  ): Promise<{ headers: Headers; body: ReadableStream<Uint8Array> }> {
    return this.#repeat(signal, async () => {
      const attempt = this.attempt(request, signal);
      const { headers, body } = await attempt.response;
      attempt.endTimeout();
      return { headers, body: bodyOf(attempt, body) };
    });
  }

  /** Sends it once. */
  attempt(request: Request, signal: AbortSignal | undefined): Attempt {
    const url = new URL(request.path, this.#base);
    for (const [name, value] of Object.entries(request.query ?? {})) {
      if (value === undefined || value === null) continue;
      url.searchParams.set(name, Array.isArray(value) ? value.join(',') : String(value));
    }
    const headers: Record<string, string> = { ...this.#headers, ...request.headers };
    if (request.body !== undefined) headers['content-type'] = 'application/json';
    return new Attempt(this.timeoutMs, signal, (ends) =>
      this.#fetch(url, {
        method: request.method,
        headers,
        signal: ends,
        // the token is for this server alone
        redirect: 'manual',
        ...(request.body === undefined ? {} : { body: request.body }),
      }),
    );
  }

  async #repeat<T>(signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    for (let failures = 1; ; failures += 1) {
      signal?.throwIfAborted();
      try {
        return await work();
      } catch (error) {
        signal?.throwIfAborted();
        if (!(error instanceof ApiError)) throw error;
        const delayMs = retryDelayMs(error, failures, this.attemptsMax, this.random());
        if (delayMs === null) throw error;
        await pause(delayMs, signal ?? NEVER);
      }
    }
  }
}

const NEVER = new AbortController().signal;

/** One request on its way, with its time limit. */
export class Attempt {
  /** rejects with ApiError for a status other than 2xx, when nothing answers, and when time is over */
  readonly response: Promise<Response>;
  readonly #controller = new AbortController();
  readonly #signal: AbortSignal | undefined;
  readonly #abort = (): void => this.#controller.abort(this.#signal?.reason);
  readonly #timer: ReturnType<typeof setTimeout>;
  #givenUp: ApiError | null = null;
  #isAnswered = false;

  constructor(
    timeoutMs: number,
    signal: AbortSignal | undefined,
    send: (ends: AbortSignal) => Promise<Response>,
  ) {
    this.#signal = signal;
    if (signal?.aborted === true) this.#abort();
    else signal?.addEventListener('abort', this.#abort);
    this.#timer = setTimeout(
      () => this.giveUp(new ApiError('timeout', `no answer within ${timeoutMs} ms`)),
      timeoutMs,
    );
    this.response = this.#begin(send);
    this.response.catch(() => this.end());
  }

  /** Settles like `work`, which reads the answer; what breaks it is told as ApiError. */
  async while<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      throw this.#told(error);
    }
  }

  /** From now on the answer may take as long as it likes. */
  endTimeout(): void {
    clearTimeout(this.#timer);
  }

  /** Whoever waits for the answer, or reads it, gets this error. */
  giveUp(error: ApiError): void {
    this.#givenUp ??= error;
    this.#controller.abort();
  }

  /** What is still on its way is not wanted any more. */
  end(): void {
    this.endTimeout();
    this.#signal?.removeEventListener('abort', this.#abort);
    this.#controller.abort();
  }

  async #begin(send: (ends: AbortSignal) => Promise<Response>): Promise<Response> {
    const response = await this.while(send(this.#controller.signal));
    this.#isAnswered = true;
    if (response.ok) return response;
    throw await errorOf(response);
  }

  #told(error: unknown): unknown {
    if (this.#signal?.aborted === true) return this.#signal.reason;
    if (error instanceof ApiError) return error;
    if (this.#givenUp !== null) return this.#givenUp;
    if (error instanceof SyntaxError)
      return new ApiError('bad_answer', 'the answer is not JSON', { cause: error });
    const what = this.#isAnswered ? 'the answer broke off' : 'the server does not answer';
    return new ApiError('unreachable', `${what}: ${causeOf(error)}`, { cause: error });
  }
}

function bodyOf(attempt: Attempt, body: ReadableStream<Uint8Array> | null): ReadableStream<Uint8Array> {
  const reader = body?.getReader();
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const read = await attempt.while(reader?.read() ?? Promise.resolve(END));
          if (!read.done) return controller.enqueue(read.value);
          controller.close();
        } catch (error) {
          controller.error(error);
        }
        attempt.end();
      },
      cancel() {
        attempt.end();
      },
    },
    { highWaterMark: 0 },
  );
}

const END = { done: true, value: undefined } as const;

/** fetch itself says "fetch failed" and keeps the reason below. */
function causeOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  if (!(cause instanceof Error)) return String(cause);
  const { code } = cause as { code?: unknown };
  return cause.message === '' && typeof code === 'string' ? code : cause.message;
}

function baseOf(given: string | URL): URL {
  const url = new URL(given);
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    throw new TypeError(`the url of the API begins with http:// or https://, not ${url.protocol}`);
  if (url.search !== '' || url.hash !== '' || url.username !== '' || url.password !== '')
    throw new TypeError('the url of the API has no user, query or fragment');
  if (!url.pathname.endsWith('/')) url.pathname += '/';
  return url;
}
