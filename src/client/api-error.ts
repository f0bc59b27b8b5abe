import { STATUS_OF, type ErrorCode } from '../core/api/error-codes.ts';

/** `unreachable`: no answer came. `bad_answer`: what came is not an answer of this API. */
export type ApiErrorCode = ErrorCode | 'unreachable' | 'bad_answer';

/** A place in the request and what is wrong with it. */
export interface ApiErrorDetail {
  readonly path: string;
  readonly message: string;
}

export interface ApiErrorTraits {
  /** of HTTP; 0 where no answer came */
  status?: number;
  requestId?: string | null;
  details?: readonly ApiErrorDetail[];
  retryAfterSeconds?: number | null;
  cause?: unknown;
}

/** The one error of the client: a request that was not answered as asked. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly code: ApiErrorCode;
  /** of HTTP; 0 where no answer came: `unreachable`, and a `timeout` of the client's own */
  readonly status: number;
  /** what the server's log calls the request; null where no answer came, or not from the API */
  readonly requestId: string | null;
  readonly details: readonly ApiErrorDetail[];
  /** when the server wants to be asked again; null: it did not say */
  readonly retryAfterSeconds: number | null;

  constructor(code: ApiErrorCode, message: string, traits: ApiErrorTraits = {}) {
    super(message, { cause: traits.cause });
    this.code = code;
    this.status = traits.status ?? 0;
    this.requestId = traits.requestId ?? null;
    this.details = traits.details ?? [];
    this.retryAfterSeconds = traits.retryAfterSeconds ?? null;
  }
}

/** How much of an error's body is read, in characters: a proxy may answer with a page. */
const SHOWN_CHARS_MAX = 200;

/** What an answer that is not 2xx says. Reads its body; never rejects. */
export async function errorOf(response: Response): Promise<ApiError> {
  const text = await response.text().catch(() => '');
  const traits = { status: response.status, retryAfterSeconds: retryAfterSeconds(response.headers) };
  const told = toldBy(text);
  if (told !== null) {
    const { code, message, request_id: requestId, details = [] } = told;
    return new ApiError(code, sentence(message, details), { ...traits, requestId, details });
  }
  const message = `${response.status} ${text.slice(0, SHOWN_CHARS_MAX) || response.statusText}`.trim();
  return new ApiError(codeOfStatus(response.status), message, traits);
}

interface Told {
  code: ErrorCode;
  message: string;
  request_id: string;
  details?: ApiErrorDetail[];
}

/** The API's own words; null: they are somebody else's. */
function toldBy(text: string): Told | null {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    return null;
  }
  const error = (body as { error?: Partial<Told> } | null)?.error;
  const isTold =
    typeof error?.code === 'string' &&
    Object.hasOwn(STATUS_OF, error.code) &&
    typeof error.message === 'string';
  return isTold ? (error as Told) : null;
}

function sentence(message: string, details: readonly ApiErrorDetail[]): string {
  if (details.length === 0) return message;
  return `${message}: ${details.map(({ path, message: what }) => `${path} ${what}`).join('; ')}`;
}

/** Of an answer that has no word: a proxy's in front of the API. */
function codeOfStatus(status: number): ApiErrorCode {
  if (status === 502) return 'unavailable';
  if (status === 504) return 'timeout';
  for (const [code, known] of Object.entries(STATUS_OF)) if (known === status) return code as ErrorCode;
  return 'bad_answer';
}

/** Seconds, or a date, which is measured from the answer's own Date: the clock here may be wrong. */
function retryAfterSeconds(headers: Headers): number | null {
  const text = headers.get('retry-after');
  if (text === null) return null;
  if (/^\d+$/.test(text)) return Number(text);
  const seconds = (Date.parse(text) - Date.parse(headers.get('date') ?? '')) / 1000;
  return Number.isFinite(seconds) ? Math.max(0, seconds) : null;
}
