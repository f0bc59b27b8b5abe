import assert from 'node:assert/strict';
import fc from 'fast-check';
import { test } from 'tap';
import { ApiError } from '../../../../src/client/api-error.ts';
import { SseParser, type SseMessage } from '../../../../src/client/live/sse-parser.ts';

const encoder = new TextEncoder();

function parse(...pieces: Uint8Array[]): { messages: SseMessage[]; parser: SseParser } {
  const parser = new SseParser();
  return { messages: pieces.flatMap((piece) => parser.push(piece)), parser };
}

const parsed = (text: string): SseMessage[] => parse(encoder.encode(text)).messages;

void test('fields as the format has them', async (t) => {
  t.strictSame(parsed('data: a\n\n'), [{ event: 'message', id: null, data: 'a' }]);
  t.strictSame(parsed('event: tick\nid: 7\ndata: {"a":1}\n\n'), [
    { event: 'tick', id: '7', data: '{"a":1}' },
  ]);
  t.strictSame(
    parsed('data:a\ndata: b\ndata\n\n')[0]?.data,
    'a\nb\n',
    'lines are joined; one blank is left out',
  );
  t.strictSame(parsed('data:  a\n\n')[0]?.data, ' a', 'only one');
  t.strictSame(parsed(': comment\nunknown: x\ndata: a\n\n').length, 1);
  t.strictSame(parsed('event: tick\n\ndata: a\n\n'), [{ event: 'message', id: null, data: 'a' }]);
  t.strictSame(parsed('data: a\n'), [], 'no empty line, no event');
  t.strictSame(parsed('\uFEFFdata: a\n\n').length, 1, 'a byte order mark is none of the first field');
});

void test('an id belongs to its event, and the last one is kept for the resumption', async (t) => {
  const { messages, parser } = parse(
    encoder.encode('id: 1\ndata: a\n\ndata: b\n\nid: 2\n\nid: 3\0\ndata: c\n\n'),
  );
  t.strictSame(
    messages.map(({ id }) => id),
    ['1', null, null],
  );
  t.equal(parser.lastEventId, '2', 'also of an event without data; never one with NUL');
  t.equal(
    parse(encoder.encode('id: 1\ndata: a\n\nid: 2\nda')).parser.lastEventId,
    '1',
    'not of half an event',
  );
  t.equal(parse(encoder.encode('retry: 250\n\n')).parser.retryMs, 250);
  t.equal(parse(encoder.encode('retry: soon\n\n')).parser.retryMs, null);
});

const END = fc.constantFrom('\n', '\r\n', '\r');
const LINE = fc.oneof(
  fc.record({
    field: fc.constantFrom('data', 'event', 'id', 'retry', '', 'x'),
    value: fc.string({ unit: 'binary' }),
  }),
  fc.constant(null),
);

void test('wherever the bytes are cut, the events are the same', async () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(LINE, END), { maxLength: 12 }),
      fc.infiniteStream(fc.nat(5)),
      (lines, cuts) => {
        const text = lines
          .map(
            ([line, end]) =>
              `${line === null ? '' : `${line.field}: ${line.value.replace(/[\r\n]/g, '')}`}${end}`,
          )
          .join('');
        const bytes = encoder.encode(text);
        const whole = parse(bytes);
        for (let at = 0; at <= bytes.length; at += 1) {
          const halves = parse(bytes.subarray(0, at), bytes.subarray(at));
          assert.deepEqual(halves.messages, whole.messages, `cut at ${at}`);
          assert.equal(halves.parser.lastEventId, whole.parser.lastEventId);
        }
        const pieces: Uint8Array[] = [];
        for (let from = 0; from < bytes.length;) {
          const length = cuts.next().value as number;
          pieces.push(bytes.subarray(from, from + length));
          from += length;
        }
        assert.deepEqual(parse(...pieces).messages, whole.messages, 'many pieces, empty ones too');
      },
    ),
  );
});

void test('what was written is read, whatever the data', async () => {
  const message = fc.record(
    { event: fc.constantFrom('tick', 'bar'), id: fc.stringMatching(/^[!-~]{1,20}$/), data: fc.json() },
    { noNullPrototype: true },
  );
  fc.assert(
    fc.property(fc.array(message), (messages) => {
      const text = messages
        .map(({ event, id, data }) => `id: ${id}\nevent: ${event}\ndata: ${data}\n\n`)
        .join('');
      assert.deepEqual(parsed(text), messages);
    }),
  );
});

void test('an event without end is given up before the memory is', async (t) => {
  const parser = new SseParser();
  const piece = new Uint8Array(1024 * 1024).fill(97);
  const feed = (): void => {
    for (let at = 0; at < 20; at += 1) parser.push(piece);
  };
  t.throws(feed, ApiError);
  const comments = new SseParser();
  const comment = encoder.encode(`:${'a'.repeat(1024 * 1024)}\n`);
  for (let at = 0; at < 20; at += 1) comments.push(comment);
  t.pass('comments are not kept');
});
