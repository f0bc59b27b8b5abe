import fc from 'fast-check';
import { test } from 'tap';
import type { OutgoingRecord } from '../../../../src/bus/bus.ts';
import { encodeBatch, streamKey, toDelivery } from '../../../../src/bus/redis/entry.ts';

const record: fc.Arbitrary<OutgoingRecord> = fc.record({
  key: fc.string({ minLength: 1, unit: 'binary' }),
  eventId: fc.option(fc.string({ unit: 'binary' })),
  data: fc.uint8Array({ maxLength: 300 }),
  encoding: fc.constantFrom('json' as const, 'msgpack' as const),
});

/** Commands of a request as a server reads them: arrays of bulk strings, byte for byte. */
function parseCommands(bytes: Uint8Array): Buffer[][] {
  const input = Buffer.from(bytes);
  let at = 0;
  const number = (checkpoint: string): number => {
    const end = input.indexOf('\r\n', at);
    const line = input.toString('latin1', at, end);
    if (!line.startsWith(checkpoint)) throw new Error(`${checkpoint} expected, not ${line}`);
    at = end + 2;
    return Number(line.slice(1));
  };
  const commands: Buffer[][] = [];
  while (at < input.length) {
    const parts: Buffer[] = [];
    for (let left = number('*'); left > 0; left--) {
      const length = number('$');
      parts.push(input.subarray(at, at + length));
      at += length;
      if (input.toString('latin1', at, at + 2) !== '\r\n') throw new Error('no end of line');
      at += 2;
    }
    commands.push(parts);
  }
  return commands;
}

void test('what is written is one transaction of XADDs, and comes back as it was', async (t) => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.string({ unit: 'binary' }), record), { maxLength: 8 }), (pairs) => {
      const entries = pairs.map(([key, each]) => ({ key, record: each }));
      const [multi, ...rest] = parseCommands(encodeBatch(entries));
      const exec = rest.pop();
      if (multi?.[0]?.toString() !== 'MULTI' || exec?.[0]?.toString() !== 'EXEC') return false;
      return entries.every(({ key, record: sent }, at) => {
        const [name, stream, id, ...fields] = rest[at] ?? [];
        const came = toDelivery('t', 0, [Buffer.from('7-1'), fields], 1, 7);
        return (
          name?.toString() === 'XADD' &&
          id?.toString() === '*' &&
          stream?.equals(Buffer.from(key)) &&
          Buffer.from(came.eventId ?? '∅').equals(Buffer.from(sent.eventId ?? '∅')) &&
          came.encoding === sent.encoding &&
          Buffer.from(sent.data).equals(came.data ?? Buffer.from('lost'))
        );
      });
    }),
    { numRuns: 500 },
  );
  t.pass();
});

void test('a value is set in the same transaction, behind the XADDs', async (t) => {
  const text = fc.string({ unit: 'binary' });
  fc.assert(
    fc.property(fc.array(fc.tuple(text, record), { maxLength: 3 }), text, text, (pairs, key, value) => {
      const entries = pairs.map(([stream, each]) => ({ key: stream, record: each }));
      const commands = parseCommands(encodeBatch(entries, { key, value }));
      const names = commands.map(([name]) => name.toString());
      const [, ...set] = commands.at(-2) ?? [];
      return (
        names.join() === ['MULTI', ...pairs.map(() => 'XADD'), 'SET', 'EXEC'].join() &&
        set.length === 2 &&
        set[0].equals(Buffer.from(key)) &&
        set[1].equals(Buffer.from(value))
      );
    }),
    { numRuns: 200 },
  );
  t.pass();
});

/** eventId, encoding and text of an entry with these fields. */
function came(...fields: string[]): unknown[] {
  const raw = fields.map((field) => Buffer.from(field));
  const { eventId, encoding, data } = toDelivery('t', 0, [Buffer.from('7-1'), raw], 1, 7);
  return [eventId, encoding, Buffer.from(data ?? []).toString()];
}

void test('entries of foreign programs', async (t) => {
  t.same(came('data', 'x', 'event_id', 'e'), ['e', 'json', 'x'], 'in any order');
  t.same(came('data', 'x', 'enc', 'zip'), [null, 'json', 'x'], 'an encoding nobody knows');
  t.same(
    came('symbol', 'SPY', 'enc', 'msgpack'),
    [null, 'json', '{"symbol":"SPY","enc":"msgpack"}'],
    'no data',
  );
  t.same(came('__proto__', '1', 'a"b', '\\'), [null, 'json', '{"__proto__":"1","a\\"b":"\\\\"}']);
  t.equal(toDelivery('t', 3, [Buffer.from('7-1'), null], 4, 7).data, null, 'deleted while pending');
  t.match(toDelivery('t', 3, [Buffer.from('7-1'), null], 4, 7), {
    topic: 't',
    partition: 3,
    position: '7-1',
    takenMs: 7,
    attempts: 4,
  });
});

void test('a topic of one partition is its own stream', async (t) => {
  t.equal(streamKey('mdp.events', 0, 1), 'mdp.events');
  t.equal(streamKey('mdp.events', 0, 2), 'mdp.events:0');
  t.equal(streamKey('mdp.events', 1, 2), 'mdp.events:1');
});

void test('an id that is no time of the last or the next day is taken for now', (t) => {
  const nowMs = 1_755_945_303_178;
  const taken = (id: string): number => toDelivery('t', 0, [Buffer.from(id), null], 1, nowMs).takenMs;
  t.equal(taken(`${nowMs - 86_400_000}-0`), nowMs - 86_400_000);
  t.equal(taken(`${nowMs + 86_400_000}-7`), nowMs + 86_400_000, 'the clock of the server may be off');
  t.equal(taken('1-1'), nowMs);
  t.equal(taken(`${nowMs - 86_400_001}-0`), nowMs);
  t.equal(taken('1755945303-0'), nowMs, 'seconds');
  t.equal(taken('1755945303178000000-0'), nowMs, 'nanoseconds');
  t.equal(taken('18446744073709551615-1'), nowMs);
  t.end();
});
