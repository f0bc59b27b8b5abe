import type { FastifyError } from 'fastify';
import { hasZodFastifySchemaValidationErrors, isResponseSerializationError } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { STATUS_OF, type ErrorCode } from '../../core/api/error-codes.ts';

export type { ErrorCode };

/** One place in the request and what is wrong with it: `query.limit`, `body[3].price`. */
export interface ErrorDetail {
  path: string;
  message: string;
}

interface ErrorTraits {
  details?: readonly ErrorDetail[];
  /** seconds after which it may be tried again */
  retryAfterSeconds?: number;
  /** never shown to the client */
  cause?: unknown;
}

/** An answer that is not the one asked for. Its message is for the client: no stack, no secret, no SQL. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly code: ErrorCode;
  readonly details: readonly ErrorDetail[];
  readonly retryAfterSeconds: number | null;

  constructor(code: ErrorCode, message: string, traits: ErrorTraits = {}) {
    super(message, { cause: traits.cause });
    this.code = code;
    this.details = traits.details ?? [];
    this.retryAfterSeconds = traits.retryAfterSeconds ?? null;
  }

  get status(): number {
    return STATUS_OF[this.code];
  }
}

/** The code of a status that a library chose. */
export function codeOfStatus(status: number): ErrorCode {
  for (const [code, known] of Object.entries(STATUS_OF)) if (known === status) return code as ErrorCode;
  return status < 500 ? 'bad_request' : 'internal';
}

/** The one shape of every answer ≥ 400. */
export const errorBody = z
  .object({
    error: z.object({
      code: z.enum(Object.keys(STATUS_OF) as [ErrorCode, ...ErrorCode[]]),
      message: z.string(),
      request_id: z.string(),
      details: z.array(z.object({ path: z.string(), message: z.string() })).optional(),
    }),
  })
  .meta({ id: 'Error', description: 'What went wrong: a word for programs, a sentence for people' });

export type ErrorBody = z.output<typeof errorBody>;

export function bodyOf(error: ApiError, requestId: string): ErrorBody {
  const { code, message, details } = error;
  return {
    error: {
      code,
      message,
      request_id: requestId,
      ...(details.length === 0 ? {} : { details: [...details] }),
    },
  };
}

/** For `schema.response` of a route: the errors that it may answer, by status. */
export function errorResponses(...codes: ErrorCode[]): Record<number, typeof errorBody> {
  return Object.fromEntries(codes.map((code) => [STATUS_OF[code], errorBody]));
}

/** What a client is told of an error, whatever threw it. */
export function toApiError(error: FastifyError): ApiError {
  if (error instanceof ApiError) return error;
  if (hasZodFastifySchemaValidationErrors(error)) {
    const where = error.validationContext ?? 'request';
    const details = error.validation.map(({ instancePath, message }) => ({
      path: `${where === 'querystring' ? 'query' : where}${instancePath.replaceAll('/', '.')}`.replace(
        /\.$/,
        '',
      ),
      message: message ?? 'is not valid',
    }));
    return new ApiError('bad_request', 'the request is not as the description says', { details });
  }
  if (isResponseSerializationError(error))
    return new ApiError('internal', 'the answer is not as the description says', { cause: error });
  const code = codeOfStatus(error.statusCode ?? 500);
  return new ApiError(code, MESSAGES[code] ?? error.message, { cause: error });
}

/** In place of what a library says, which may quote the request or tell of our insides. */
const MESSAGES: Partial<Record<ErrorCode, string>> = {
  internal: 'something failed here',
  bad_request: 'this is no request that can be read',
  payload_too_large: 'the body is too large',
  uri_too_long: 'the address is too long',
  unsupported_media_type: 'the body must be application/json',
};
