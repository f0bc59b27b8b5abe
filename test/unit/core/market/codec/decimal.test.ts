import fc from 'fast-check';
import { test } from 'tap';
import { DECIMAL_DIGITS_MAX, exactDecimal } from '../../../../../src/core/market/codec/decimal.ts';

const of = (text: string): string => {
  const found = exactDecimal(text);
  return 'text' in found ? found.text : found.mistake;
};

/** A decimal as (digits · 10^−places): what two spellings of one number have in common. */
function valueOf(text: string): { digits: bigint; places: number } {
  const [mantissa = '', exponent = '0'] = text.toLowerCase().split('e');
  const [whole = '', fraction = ''] = mantissa.split('.');
  let digits = BigInt(`${whole}${fraction}`);
  let places = fraction.length - Number(exponent);
  while (digits !== 0n && digits % 10n === 0n) {
    digits /= 10n;
    places -= 1;
  }
  return { digits, places: digits === 0n ? 0 : places };
}

void test('digits stay as they were written, without an exponent', async (t) => {
  for (const [text, expected] of [
    ['113', '113'],
    ['0.10', '0.10'],
    ['-12.500', '-12.500'],
    ['1e-7', '0.0000001'],
    ['1.5e3', '1500'],
    ['1.50e1', '15.0'],
    ['1.5E+1', '15'],
    ['12.34e-1', '1.234'],
    ['0e5', '0'],
    ['0.00e1', '0.0'],
    ['-0', '0'],
    ['-0.00', '0.00'],
    ['1e37', `1${'0'.repeat(37)}`],
    ['1e-38', `0.${'0'.repeat(37)}1`],
    ['9'.repeat(38), '9'.repeat(38)],
    [`${'9'.repeat(19)}.${'1'.repeat(19)}`, `${'9'.repeat(19)}.${'1'.repeat(19)}`],
  ] as const)
    t.equal(of(text), expected, text);
});

void test('what is no decimal of at most 38 digits is told apart', async (t) => {
  for (const text of [
    '',
    ' 1',
    '+1',
    '1,5',
    '.5',
    '5.',
    '01',
    '0x10',
    '1e',
    '1_000',
    '١',
    'x'.repeat(100),
    '--1',
  ])
    t.equal(of(text), 'not_a_number', text);
  for (const text of ['NaN', 'Infinity', '-infinity', 'inf']) t.equal(of(text), 'not_finite', text);
  for (const text of [
    '1e38',
    '1e400',
    '1e-39',
    `1e${'9'.repeat(30)}`,
    '9'.repeat(39),
    `0.${'1'.repeat(39)}`,
    '1'.repeat(1000),
  ])
    t.equal(of(text), 'too_many_digits', text);
});

const digits = (max: number): fc.Arbitrary<string> =>
  fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 1, maxLength: max }).map((list) => list.join(''));

void test('the value is that of the digits, and what came out comes out again', async (t) => {
  const decimal = fc
    .tuple(fc.boolean(), digits(25), fc.option(digits(25)), fc.option(fc.integer({ min: -45, max: 45 })))
    .map(([negative, whole, fraction, exponent]) => {
      const point = fraction === null ? '' : `.${fraction}`;
      const power = exponent === null ? '' : `e${exponent}`;
      return `${negative ? '-' : ''}${whole.replace(/^0+(?=\d)/, '')}${point}${power}`;
    });
  let kept = 0;
  fc.assert(
    fc.property(decimal, (text) => {
      const found = exactDecimal(text);
      if ('mistake' in found) return found.mistake === 'too_many_digits';
      kept += 1;
      const isSame = JSON.stringify(told(found.text)) === JSON.stringify(told(text));
      const count = found.text.replace(/^-?0?(?=\.)|[-.]/g, '').length;
      return isSame && count <= DECIMAL_DIGITS_MAX && of(found.text) === found.text;
    }),
    { numRuns: 2000 },
  );
  t.ok(kept > 200, `${kept} of 2000 within the limit`);
});

function told(text: string): string {
  const { digits, places } = valueOf(text);
  return `${digits}e-${places}`;
}
