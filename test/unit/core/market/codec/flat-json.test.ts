import fc from 'fast-check';
import { test } from 'tap';
import { fieldPath, NumberText, readFlatJson } from '../../../../../src/core/market/codec/flat-json.ts';

/** As JSON.parse would give it; null: a mistake. */
function plain(text: string): unknown {
  const found = readFlatJson(text, 100);
  if (found.kind === 'mistake') return null;
  const records = found.records.map((record) =>
    Object.fromEntries(
      [...record].map(([name, value]) => [name, value instanceof NumberText ? Number(value.text) : value]),
    ),
  );
  return found.isList ? records : records[0];
}

const value = fc.oneof(
  fc.string({ unit: 'grapheme' }),
  fc.string({ unit: 'binary' }),
  fc.double({ noDefaultInfinity: true, noNaN: true }).map((number) => number + 0),
  fc.integer(),
  fc.boolean(),
  fc.constant(null),
);
const record = fc
  .dictionary(fc.string({ maxLength: 20 }), value, { maxKeys: 6 })
  .map((fields) => Object.fromEntries(Object.entries(fields).filter(([name]) => name !== '__proto__')));
const document = fc.oneof(record, fc.array(record, { maxLength: 5 }));

void test('a flat document is read as JSON.parse reads it', async () => {
  fc.assert(
    fc.property(document, fc.constantFrom(undefined, 1, '\t'), (given, indent) => {
      const text = JSON.stringify(given, null, indent);
      return JSON.stringify(plain(text)) === JSON.stringify(JSON.parse(text));
    }),
    { numRuns: 1000 },
  );
});

void test('what JSON.parse refuses is refused, wherever a text is damaged', async (t) => {
  let damaged = 0;
  fc.assert(
    fc.property(
      document,
      fc.nat(),
      fc.constantFrom('', '"', '{', ',', '\\', '\n', '0', 'e', ':'),
      (given, at, put) => {
        const text = JSON.stringify(given);
        const cut = at % text.length;
        const broken = `${text.slice(0, cut)}${put}${text.slice(cut + 1)}`;
        try {
          JSON.parse(broken);
          return true;
        } catch {
          damaged += 1;
          return readFlatJson(broken, 100).kind === 'mistake';
        }
      },
    ),
    { numRuns: 2000 },
  );
  t.ok(damaged > 100, `${damaged} of 2000 were damaged`);
});

void test('digits of numbers are those that were written', async (t) => {
  const found = readFlatJson('{"a":0.10,"b":12345678901234567890.1e-3,"c":-0}', 1);
  t.equal(found.kind, 'document');
  if (found.kind !== 'document') return;
  t.strictSame(
    [...found.records[0].values()].map((one) => (one instanceof NumberText ? one.text : null)),
    ['0.10', '12345678901234567890.1e-3', '-0'],
  );
});

void test('mistakes say where they are', async (t) => {
  for (const [text, reason, path] of [
    ['', 'bad_json', ''],
    ['null', 'not_an_object', ''],
    ['"SPY"', 'not_an_object', ''],
    ['[1]', 'not_an_object', '[0]'],
    ['[{},[]]', 'not_an_object', '[1]'],
    ['['.repeat(200_000), 'not_an_object', '[0]'],
    ['{"a":'.repeat(200_000), 'nested', 'a'],
    ['[{},{"price":[1]}]', 'nested', '[1].price'],
    ['{"a":1,"a":1}', 'repeated_field', 'a'],
    ['[{"a":1,"\\u0061":2}]', 'repeated_field', '[0].a'],
    ['{"__proto__":{"a":1}}', 'nested', '__proto__'],
    ['{"a":tru}', 'bad_json', 'a'],
    ['{"a":01}', 'bad_json', ''],
    ['{} {}', 'bad_json', ''],
    ['{"a":1}\0', 'bad_json', ''],
    [`[${'{},'.repeat(100)}{}]`, 'too_many', ''],
    [`{"a":"${'\\u0041'.repeat(2001)}"}`, 'bad_json', 'a'],
  ] as const) {
    const found = readFlatJson(text, 100);
    t.match(found, { kind: 'mistake', reason, path }, text.slice(0, 40));
  }
  t.equal(fieldPath('[2]', 'a b'), '[2]["a b"]');
  t.equal(fieldPath('', 'x'.repeat(1000)).length, 44);
});
