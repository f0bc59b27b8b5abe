import { encode, ExtData } from '@msgpack/msgpack';
import { test } from 'tap';
import { MsgpackTime } from '../../../../../src/core/market/codec/field.ts';
import { readMsgpackMap } from '../../../../../src/core/market/codec/msgpack-read.ts';

const price = (value: Uint8Array | number[]): unknown => {
  const read = readMsgpackMap(Buffer.from([0x81, 0xa5, ...Buffer.from('price'), ...value]));
  return 'reason' in read ? read.reason : read.fields.price;
};
const be = (bits: 32 | 64, value: bigint): Buffer =>
  Buffer.from(value.toString(16).padStart(bits / 4, '0'), 'hex');

const micros = (value: unknown): bigint | null => (value instanceof MsgpackTime ? value.micros : null);
const reason = (bytes: number[]): string => {
  const read = readMsgpackMap(Buffer.from(bytes));
  return 'reason' in read ? read.reason : 'accepted';
};

void test('every width of every scalar', (t) => {
  for (const [bytes, expected] of [
    [[0x7f], 127],
    [[0xe0], -32],
    [[0xc0], null],
    [[0xc2], false],
    [[0xc3], true],
    [[0xcc, 0xff], 255],
    [[0xcd, 0xff, 0xff], 65_535],
    [[0xce, 0xff, 0xff, 0xff, 0xff], 4_294_967_295],
    [[0xcf, ...be(64, 2n ** 53n - 1n)], 2 ** 53 - 1],
    [[0xcf, ...be(64, 2n ** 64n - 1n)], 2n ** 64n - 1n],
    [[0xd0, 0x80], -128],
    [[0xd1, 0x80, 0], -32_768],
    [[0xd2, 0x80, 0, 0, 0], -2_147_483_648],
    [[0xd3, ...be(64, 2n ** 63n)], -(2n ** 63n)],
    [[0xca, ...be(32, 0x42e2_0000n)], 113],
    [[0xcb, ...be(64, 0x405c_4000_0000_0000n)], 113],
    [[0xcb, ...be(64, 0x7ff8_0000_0000_0000n)], NaN],
    [[0xcb, ...be(64, 0x7ff0_0000_0000_0000n)], Infinity],
    [[0xa3, ...Buffer.from('1.5')], '1.5'],
    [[0xd9, 3, ...Buffer.from('1.5')], '1.5'],
    [[0xda, 0, 3, ...Buffer.from('1.5')], '1.5'],
    [[0xdb, 0, 0, 0, 3, ...Buffer.from('1.5')], '1.5'],
    [[0xa2, ...Buffer.from('é')], 'é'],
  ] as const) {
    t.ok(Object.is(price([...bytes]), expected), String(expected));
  }
  t.end();
});

void test('timestamps of 32, 64 and 96 bits, cut to a microsecond', (t) => {
  const seconds = 1_755_945_303n;
  const nanos = 178_360_999n;
  t.equal(micros(price([0xd6, 0xff, ...be(32, seconds)])), seconds * 1_000_000n);
  t.equal(micros(price([0xd7, 0xff, ...be(64, (nanos << 34n) | seconds)])), 1_755_945_303_178_360n);
  t.equal(micros(price([0xc7, 12, 0xff, ...be(32, nanos), ...be(64, seconds)])), 1_755_945_303_178_360n);
  t.equal(
    micros(price([0xd7, 0xff, ...be(64, (1_000_000_000n << 34n) | seconds)])),
    null,
    'no such nanosecond',
  );
  t.equal(micros(price([0xd6, 0x05, ...be(32, seconds)])), null, 'another extension');
  t.end();
});

void test('values that no field can have are passed over with their whole length', (t) => {
  const nested = {
    a: [1, { b: 'x'.repeat(300) }],
    c: Buffer.alloc(70_000),
    d: new ExtData(7, Uint8Array.of(1, 2, 3)),
    e: [[], {}, null, 2n ** 60n],
  };
  for (const value of [
    nested,
    Object.values(nested),
    Buffer.from([0xff, 0xfe, 0xfd]),
    Array.from({ length: 70_000 }, () => 0.5),
  ]) {
    const bytes = encode({ other: value, price: value, symbol: 'SPY' }, { useBigInt64: true });
    const read = readMsgpackMap(bytes);
    t.match(read, { fields: { symbol: 'SPY', price: [] } });
  }
  t.end();
});

void test('a map of more than 15 and of more than 65,535 entries', (t) => {
  const many = Object.fromEntries(Array.from({ length: 70_000 }, (_, at) => [`k${at}`, at]));
  t.match(readMsgpackMap(encode({ ...many, symbol: 'SPY' })), { fields: { symbol: 'SPY' } });
  t.match(readMsgpackMap(Buffer.from([0xde, 0, 1, 0xa6, ...Buffer.from('symbol'), 0xa1, 0x53])), {
    fields: { symbol: 'S' },
  });
  t.end();
});

void test('keys that are no texts are ignored with their values', (t) => {
  // { 1: 2, null: {}, "seq": 7 }
  const bytes = Uint8Array.of(0x83, 1, 2, 0xc0, 0x80, 0xa3, ...Buffer.from('seq'), 7);
  t.match(readMsgpackMap(bytes), { fields: { seq: 7 } });
  t.end();
});

/** A text as bin 8, 16 or 32. */
const bytes = (text: string, width: 1 | 2 | 4 = 1): number[] => {
  const length = Buffer.from(be(32, BigInt(Buffer.byteLength(text)))).subarray(4 - width);
  return [width === 1 ? 0xc4 : width === 2 ? 0xc5 : 0xc6, ...length, ...Buffer.from(text)];
};

void test('text that was packed as bytes is text: keys and values', (t) => {
  // {b'kind': b'tick', b'symbol': 'SPY', 'price': b'1.5', b'é': 1}, as Python packs it
  const packed = Buffer.from(
    [
      [0x84, bytes('kind'), bytes('tick', 4), bytes('symbol', 2), 0xa3, ...Buffer.from('SPY')],
      [0xa5, ...Buffer.from('price'), bytes('1.5'), bytes('é'), 1],
    ].flat(2),
  );
  t.match(readMsgpackMap(packed), { fields: { kind: 'tick', symbol: 'SPY', price: '1.5' } });
  const odd = Uint8Array.of(0x82, 0xc4, 2, 0xff, 0xfe, 1, ...bytes('seq'), 7);
  t.match(readMsgpackMap(odd), { fields: { seq: 7 } }, 'a key that is no text is ignored');
  t.equal(reason([0x81, 0xc4, 9, 0x61]), 'bad_msgpack', 'it ends too early');
  t.end();
});

void test('malformed bytes are refused', (t) => {
  t.equal(reason([]), 'bad_msgpack');
  t.equal(reason([0x90]), 'not_an_object');
  t.equal(reason([0x01]), 'not_an_object');
  t.equal(reason([0x80, 0x80]), 'bad_msgpack', 'something after it');
  t.equal(reason([0x81, 0xc1, 0x01]), 'bad_msgpack', 'a type that does not exist');
  t.equal(reason([0xdf, 0xff, 0xff, 0xff, 0xff]), 'bad_msgpack', 'it claims four billion entries');
  t.equal(reason([0x81, 0xa1, 0x78, 0xdd, 0xff, 0xff, 0xff, 0xff]), 'bad_msgpack');
  t.equal(
    reason([0x81, 0xa1, 0x78, ...Array.from({ length: 100_000 }, () => 0x91)]),
    'bad_msgpack',
    'deeper than any event',
  );
  t.equal(reason([0x81, 0xa6, ...Buffer.from('symbol'), 0xa1, 0xff]), 'bad_utf8');
  t.end();
});

void test('__proto__ is a key like any other', (t) => {
  const bytes = Buffer.from([
    0x81,
    0xa9,
    ...Buffer.from('__proto__'),
    0x81,
    0xa6,
    ...Buffer.from('symbol'),
    0xa1,
    0x53,
  ]);
  t.match(readMsgpackMap(bytes), { fields: { symbol: null } });
  t.equal(({} as Record<string, unknown>)['symbol'], undefined);
  t.end();
});
