import fc from 'fast-check';
import { test } from 'tap';
import { ApiError } from '../../../../../src/serve/api/errors.ts';
import { JSON_DEPTH_MAX, parseJson, textOf } from '../../../../../src/serve/api/guard/json-body.ts';

const FORBIDDEN = ['__proto__', 'constructor', 'prototype'];

void test('it reads what JSON.parse reads', async () => {
  const names = fc.string().filter((name) => !FORBIDDEN.includes(name));
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 5 },
      fc.string(),
      fc.double({ noNaN: true, noDefaultInfinity: true }).filter((number) => Math.abs(number) < 2 ** 53),
      fc.boolean(),
      fc.constant(null),
      fc.array(tie('value'), { maxLength: 4 }),
      fc.dictionary(names, tie('value'), { maxKeys: 4, noNullPrototype: true }),
    ),
  }));
  fc.assert(
    fc.property(value, fc.constantFrom(0, 1), (given, indent) => {
      const text = JSON.stringify(given, null, indent);
      return JSON.stringify(parseJson(text)) === JSON.stringify(JSON.parse(text));
    }),
  );
});

void test('it refuses what two readers could read differently', async (t) => {
  for (const [text, why] of [
    ['{"a":1,"a":2}', /"a" twice/],
    [String.raw`{"a":1,"\u0061":2}`, /"a" twice/],
    ['[{"x":{"b":1,"b":1}}]', /"b" twice/],
    ['{"__proto__":{}}', /__proto__/],
    [String.raw`{"__pr\u006fto__":{}}`, /__proto__/],
    ['{"a":{"constructor":{"prototype":{}}}}', /constructor/],
    ['{"a":[{"prototype":1}]}', /prototype/],
    ['1e999', /beyond every double/],
    ['{"a":-1e400}', /beyond every double/],
    ['', /not valid JSON/],
    ['{', /not valid JSON/],
    ['{"a":1}}', /not valid JSON/],
    ['[1,]', /not valid JSON/],
    ["{'a':1}", /not valid JSON/],
    ['{"a":NaN}', /not valid JSON/],
    ['\u0000', /not valid JSON/],
    [String.raw`{"a\x":1}`, /not valid JSON/],
  ] as const) {
    t.throws(() => parseJson(text), { name: 'ApiError', code: 'bad_request', message: why }, text);
  }
});

void test('names that only look like repetitions are none', async (t) => {
  for (const text of [
    '{"a":{"a":1},"b":[{"a":1},{"a":2}]}',
    '{"a":"a","b":"a"}',
    '{"a":["a","a"],"__proto":1}',
    String.raw`{"a\"":1,"a":2,"b\\":",\"a\":3"}`,
  ])
    t.strictSame(parseJson(text), JSON.parse(text), text);
});

void test('integers keep their digits', async (t) => {
  t.strictSame(parseJson('{"seq":18446744073709551615,"n":-9007199254740993,"small":1}'), {
    seq: 18_446_744_073_709_551_615n,
    n: -9_007_199_254_740_993n,
    small: 1,
  });
});

function deep(levels: number): string {
  return '['.repeat(levels) + ']'.repeat(levels);
}

void test('it is as deep as it may be, and no deeper; a megabyte of brackets costs nothing', async (t) => {
  t.doesNotThrow(() => parseJson(deep(JSON_DEPTH_MAX)));
  t.throws(() => parseJson(deep(JSON_DEPTH_MAX + 1)), { message: /nested deeper/ });
  t.throws(() => parseJson('{"a":'.repeat(200_000)), { message: /nested deeper/ });
  t.throws(() => parseJson('['.repeat(1024 * 1024)), { message: /nested deeper/ });
});

void test('bytes that are no UTF-8 are refused', async (t) => {
  t.equal(textOf(Buffer.from('é')), 'é');
  for (const bytes of [[0xff], [0xc0, 0xaf], [0xed, 0xa0, 0x80], [0x22, 0xe2, 0x82, 0x22]])
    t.throws(() => textOf(Buffer.from(bytes)), ApiError);
});
