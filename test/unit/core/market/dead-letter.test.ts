import { createHash, randomBytes } from 'node:crypto';
import { test } from 'tap';
import {
  deadLetterId,
  deadLetterOf,
  decodeDeadLetter,
  encodeDeadLetter,
  partitionName,
  RAW_MAX_BYTES,
  type RefusedRecord,
} from '../../../../src/core/market/dead-letter.ts';

const REFUSED: RefusedRecord = {
  topic: 'mdp.events',
  msgId: '1755945303178-0',
  group: 'tick-consumer',
  reason: 'bad_price',
  detail: 'price "1,5" is no number',
  key: 'SPY',
  encoding: 'msgpack',
  raw: Buffer.from([0, 255, 128, 13, 10]),
  at: 1_755_945_303_178_360n,
};

void test('a dead letter keeps the bytes as they came', (t) => {
  const letter = deadLetterOf(REFUSED);
  const read = decodeDeadLetter(encodeDeadLetter(letter));
  t.strictSame(read, { ...letter, raw: Buffer.from(REFUSED.raw) });
  t.match(JSON.parse(Buffer.from(encodeDeadLetter(letter)).toString()), {
    ver: 1,
    topic: 'mdp.events',
    msg_id: '1755945303178-0',
    group: 'tick-consumer',
    reason: 'bad_price',
    raw: 'AP+ADQo=',
    raw_bytes: 5,
    raw_sha256: createHash('sha256').update(REFUSED.raw).digest('hex'),
    at: '2025-08-23T10:35:03.178360Z',
    event_id: 'mdp.events|1755945303178-0',
  });
  t.end();
});

void test('a long record is cut, says so, and still fits into what a broker takes', (t) => {
  const raw = randomBytes(1024 * 1024);
  const bytes = encodeDeadLetter(
    deadLetterOf({ ...REFUSED, raw, detail: '"'.repeat(5000), key: 'K'.repeat(64) }),
  );
  t.ok(bytes.length < 1_000_000, `${bytes.length}`);
  const read = decodeDeadLetter(bytes);
  t.equal(read?.rawBytes, raw.length);
  t.equal(read?.rawSha256, createHash('sha256').update(raw).digest('hex'), 'of the whole record');
  t.ok(raw.subarray(0, RAW_MAX_BYTES).equals(Buffer.from(read?.raw ?? [])));
  t.match(JSON.parse(Buffer.from(bytes).toString()), { raw_cut_at: RAW_MAX_BYTES });
  t.end();
});

void test('its id is the place where the record was', (t) => {
  t.equal(deadLetterId(deadLetterOf(REFUSED)), 'mdp.events|1755945303178-0');
  const elsewhere = deadLetterOf({ ...REFUSED, topic: partitionName('mdp.events', 3, 4), group: null });
  t.equal(deadLetterId(elsewhere), 'mdp.events:3|1755945303178-0');
  t.equal(partitionName('mdp.events', 0, 1), 'mdp.events');
  const never = deadLetterOf({ ...REFUSED, msgId: null, group: null, key: null });
  t.equal(deadLetterId(never), `mdp.events|sha256:${never.rawSha256}`);
  t.strictSame(decodeDeadLetter(encodeDeadLetter(never)), { ...never, raw: Buffer.from(REFUSED.raw) });
  t.end();
});

void test('what is no dead letter is null', (t) => {
  const good = JSON.parse(Buffer.from(encodeDeadLetter(deadLetterOf(REFUSED))).toString()) as object;
  const without = (change: object): Uint8Array => Buffer.from(JSON.stringify({ ...good, ...change }));
  t.not(decodeDeadLetter(without({})), null);
  for (const bytes of [
    Buffer.from('x'),
    Buffer.from('null'),
    Buffer.from([0xff]),
    without({ ver: 2 }),
    without({ topic: 7 }),
    without({ raw: undefined }),
    without({ raw_bytes: '5' }),
    without({ at: 'now' }),
  ]) {
    t.equal(decodeDeadLetter(bytes), null);
  }
  t.end();
});
