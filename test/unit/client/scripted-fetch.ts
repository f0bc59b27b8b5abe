/** One request as the client sent it. */
export interface SentRequest {
  method: string;
  url: URL;
  headers: Record<string, string>;
  body: string | null;
  signal: AbortSignal;
}

export type Answer = Response | Error | ((request: SentRequest) => Response | Promise<Response>);

/** A fetch that answers by a script, in order, and remembers what it was asked. */
export class ScriptedFetch {
  readonly sent: SentRequest[] = [];
  readonly #answers: Answer[];

  constructor(...answers: Answer[]) {
    this.#answers = answers;
  }

  readonly fetch: typeof fetch = async (input, init) => {
    const request: SentRequest = {
      method: init?.method ?? 'GET',
      url: new URL(input as URL),
      headers: Object.fromEntries(new Headers(init?.headers).entries()),
      body: (init?.body as string | undefined) ?? null,
      signal: init?.signal as AbortSignal,
    };
    this.sent.push(request);
    const answer = this.#answers.shift();
    if (answer === undefined) throw new Error('the script has no more answers');
    if (answer instanceof Error) throw answer;
    return typeof answer === 'function' ? answer(request) : answer;
  };

  get unused(): number {
    return this.#answers.length;
  }
}

export function json(body: unknown, init: ResponseInit = {}): Response {
  return new Response(JSON.stringify(body), {
    ...init,
    headers: { 'content-type': 'application/json', ...(init.headers as Record<string, string> | undefined) },
  });
}

export function failure(status: number, code: string, headers: Record<string, string> = {}): Response {
  return json({ error: { code, message: `it is ${code}`, request_id: 'req-1' } }, { status, headers });
}

/** As fetch has it when nobody listens. */
export function refused(): Error {
  return new TypeError('fetch failed', { cause: new Error('connect ECONNREFUSED 127.0.0.1:1') });
}

/** Never answers, until it is given up. */
export const silence = (request: SentRequest): Promise<Response> =>
  new Promise((_, reject) => {
    request.signal.addEventListener('abort', () => reject(new DOMException('aborted', 'AbortError')));
  });
