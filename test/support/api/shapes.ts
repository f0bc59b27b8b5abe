export const HOST = 'Host: localhost';
/** API_TOKEN where these are sent */
export const TOKEN = 'first-token-of-more-than-32-characters';

/** Bytes that are one request to one reader and two to another, or none at all; `\n` stands for CRLF. */
const AS_LINES: readonly [string, string][] = [
  [
    'length and chunks',
    `POST /ingest/tick HTTP/1.1\n${HOST}\nContent-Length: 4\nTransfer-Encoding: chunked\n\n0\n\n`,
  ],
  [
    'chunks and length',
    `POST /ingest/tick HTTP/1.1\n${HOST}\nTransfer-Encoding: chunked\nContent-Length: 4\n\n0\n\n`,
  ],
  ['two lengths', `POST /ingest/tick HTTP/1.1\n${HOST}\nContent-Length: 0\nContent-Length: 5\n\nGET /`],
  ['two equal lengths', `POST /ingest/tick HTTP/1.1\n${HOST}\nContent-Length: 0\nContent-Length: 0\n\n`],
  ['a list of lengths', `POST /ingest/tick HTTP/1.1\n${HOST}\nContent-Length: 0, 5\n\nGET /`],
  ['a negative length', `POST /ingest/tick HTTP/1.1\n${HOST}\nContent-Length: -1\n\n`],
  ['a signed length', `POST /ingest/tick HTTP/1.1\n${HOST}\nContent-Length: +5\n\nhello`],
  ['a length in hex', `POST /ingest/tick HTTP/1.1\n${HOST}\nContent-Length: 0x5\n\nhello`],
  [
    'a length beyond 64 bits',
    `POST /ingest/tick HTTP/1.1\n${HOST}\nContent-Length: 99999999999999999999\n\n`,
  ],
  ['an unknown coding', `POST /ingest/tick HTTP/1.1\n${HOST}\nTransfer-Encoding: xchunked\n\n0\n\n`],
  [
    'a coding behind chunked',
    `POST /ingest/tick HTTP/1.1\n${HOST}\nTransfer-Encoding: chunked, identity\n\n0\n\n`,
  ],
  ['identity', `POST /ingest/tick HTTP/1.1\n${HOST}\nTransfer-Encoding: identity\nContent-Length: 2\n\n{}`],
  [
    'two codings',
    `POST /ingest/tick HTTP/1.1\n${HOST}\nTransfer-Encoding: chunked\nTransfer-Encoding: identity\n\n0\n\n`,
  ],
  ['a blank before the colon', `POST /ingest/tick HTTP/1.1\n${HOST}\nTransfer-Encoding : chunked\n\n0\n\n`],
  ['a header without a colon', `GET /health HTTP/1.1\n${HOST}\nnonsense\n\n`],
  ['an empty header name', `GET /health HTTP/1.1\n${HOST}\n: x\n\n`],
  ['NUL in a header', `GET /health HTTP/1.1\n${HOST}\nX-A: a\0b\n\n`],
  ['a lone CR in a header', `GET /health HTTP/1.1\n${HOST}\nX-A: a\rX-B: c\n\n`],
  [
    'a chunk that is no number',
    `POST /ingest/tick HTTP/1.1\n${HOST}\nAuthorization: Bearer ${TOKEN}\nContent-Type: application/json\nTransfer-Encoding: chunked\n\nxyz\n{}\n0\n\n`,
  ],
  [
    'a chunk larger than it says',
    `POST /ingest/tick HTTP/1.1\n${HOST}\nAuthorization: Bearer ${TOKEN}\nContent-Type: application/json\nTransfer-Encoding: chunked\n\n2\n{}xx\n0\n\n`,
  ],
  [
    'a chunk with a minus',
    `POST /ingest/tick HTTP/1.1\n${HOST}\nAuthorization: Bearer ${TOKEN}\nContent-Type: application/json\nTransfer-Encoding: chunked\n\n-2\n{}\n0\n\n`,
  ],
  ['no version', `GET /health\n\n`],
  ['version 0.9', `GET /health HTTP/0.9\n${HOST}\n\n`],
  ['version 2.0', `PRI * HTTP/2.0\n\nSM\n\n`],
  ['version 1.15', `GET /health HTTP/1.15\n${HOST}\n\n`],
  ['a blank in the path', `GET /health /x HTTP/1.1\n${HOST}\n\n`],
  ['an unknown method', `BREW /health HTTP/1.1\n${HOST}\n\n`],
  ['a method in lower case', `get /health HTTP/1.1\n${HOST}\n\n`],
  ['TLS', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
  ['nonsense', '\0\0\0\0'],
  ['no Host', 'GET /health HTTP/1.1\n\n'],
  ['an empty Host', 'GET /health HTTP/1.1\nHost:\n\n'],
  ['two Hosts', `GET /health HTTP/1.1\n${HOST}\nHost: evil.example\n\n`],
  ['no Host, old', 'GET /health HTTP/1.0\n\n'],
  ['an address with a host', `GET http://evil.example/health HTTP/1.1\n${HOST}\n\n`],
  ['an address with our host', `GET http://localhost/health HTTP/1.1\n${HOST}\n\n`],
  ['the server itself', `OPTIONS * HTTP/1.1\n${HOST}\n\n`],
  ['two tokens', `GET /docs HTTP/1.1\n${HOST}\nAuthorization: Bearer ${TOKEN}\nAuthorization: Bearer x\n\n`],
  ['a GET with a body', `GET /health HTTP/1.1\n${HOST}\nContent-Length: 5\n\nGET /`],
  ['a GET with chunks', `GET /health HTTP/1.1\n${HOST}\nTransfer-Encoding: chunked\n\n0\n\n`],
  ['a wish that is not met', `POST /ingest/tick HTTP/1.1\n${HOST}\nExpect: 200-ok\nContent-Length: 2\n\n{}`],
];

/** With what each is; behind each stands a request that must never be taken for one of its own. */
export const SHAPES: readonly [string, string][] = AS_LINES.map(([what, lines]) => [
  what,
  `${lines.replaceAll('\n', '\r\n')}GET /smuggled HTTP/1.1\r\n${HOST}\r\n\r\n`,
]);
