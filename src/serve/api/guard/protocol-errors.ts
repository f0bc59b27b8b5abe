import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { ApiError, bodyOf, type ErrorCode } from '../errors.ts';

/** What Node's parser of HTTP found, by its code; all else is a bad request. */
const MEANINGS: Readonly<Record<string, [ErrorCode, string]>> = {
  HPE_HEADER_OVERFLOW: ['headers_too_large', 'the headers are too large'],
  HPE_CHUNK_EXTENSIONS_OVERFLOW: ['payload_too_large', 'the chunk extensions are too large'],
  ERR_HTTP_REQUEST_TIMEOUT: ['timeout', 'the request did not come in time'],
};

/** A connection that ended, or bytes that are not for HTTP at all: nobody reads an answer. */
const SILENT = new Set(['ECONNRESET', 'EPIPE', 'ERR_STREAM_PREMATURE_CLOSE']);

/** Those that are closed once what came before is answered: whatever else they send is not looked at. */
const ENDING = new WeakSet<Socket>();

/**
 * Answers what is no request, in the shape of all errors, and closes the connection: where one request ends and the next begins
 * is no longer known.
 *
 * @param refused is told the status
 */
export function answerParserError(
  error: NodeJS.ErrnoException,
  socket: Socket,
  refused: (status: number) => void,
): void {
  if (ENDING.has(socket)) return;
  const pending = pendingAnswer(socket);
  // that request came whole, and is answered first: this answer would be taken for its own
  if (pending?.req.complete === true && socket.writable) {
    ENDING.add(socket);
    pending.once('close', () => {
      ENDING.delete(socket);
      answerParserError(error, socket, refused);
    });
    return;
  }
  // part of an answer was sent: more bytes would be taken for the rest of it
  if (SILENT.has(error.code ?? '') || !socket.writable || pending?.headersSent === true) {
    socket.destroy();
    return;
  }
  const [code, message] = MEANINGS[error.code ?? ''] ?? ['bad_request', 'this is no valid HTTP'];
  const answer = new ApiError(code, message);
  refused(answer.status);
  socket.end(rawAnswer(answer), () => socket.destroy());
}

/** An `Expect` that is not 100-continue: Node would answer 417 without a word. */
export function answerExpectation(_request: IncomingMessage, response: ServerResponse): void {
  response.socket?.end(rawAnswer(new ApiError('bad_request', 'no expectation but 100-continue is met here')));
}

/** The bytes of an error answer to what no route was found for. */
function rawAnswer(error: ApiError): string {
  const id = randomUUID();
  const body = JSON.stringify(bodyOf(error, id));
  return [
    `HTTP/1.1 ${error.status} ${STATUS_CODES[error.status] ?? 'Error'}`,
    'content-type: application/json; charset=utf-8',
    `content-length: ${Buffer.byteLength(body)}`,
    `x-request-id: ${id}`,
    "content-security-policy: default-src 'none'; frame-ancestors 'none'",
    'x-content-type-options: nosniff',
    'referrer-policy: no-referrer',
    'cache-control: no-store',
    'connection: close',
    '',
    body,
  ].join('\r\n');
}

/** The answer that the connection is to send next; Node has no other name for it. */
function pendingAnswer(socket: Socket): ServerResponse | null {
  return (socket as { _httpMessage?: ServerResponse | null })._httpMessage ?? null;
}
