import { test } from 'tap';
import * as fc from 'fast-check';
import { parseEnvFile, unquote } from '../../../../src/run/config/env-file.ts';

function values(text: string): Record<string, string> {
  return Object.fromEntries([...parseEnvFile(text).values].map(([name, { value }]) => [name, value]));
}

void test('plain assignments, comments, exports and quotes', async (t) => {
  t.strictSame(
    values(`\ufeff# a comment
A=1
  B = two words 

export C=3
D="quoted # no comment"   # a comment
E='single'
F=value   # a comment
G=a#b
H=
I=# nothing
J="it's"
K=a=b=c
L="unbalanced
M='a' 'b'
`),
    {
      A: '1',
      B: 'two words',
      C: '3',
      D: 'quoted # no comment',
      E: 'single',
      F: 'value',
      G: 'a#b',
      H: '',
      I: '',
      J: "it's",
      K: 'a=b=c',
      L: '"unbalanced',
      M: "a' 'b",
    },
  );
});

void test('a name given twice has its last value; Windows line ends are fine', async (t) => {
  t.strictSame(values('A=1\r\nA=2\r\nB=3\r\n'), { A: '2', B: '3' });
});

void test('what is no assignment is reported by line, without its text', async (t) => {
  const { problems } = parseEnvFile('A=1\npassword hunter2\n=x\nA-B=1\nexport\n');
  t.strictSame(
    problems.map(({ line }) => line),
    [2, 3, 4, 5],
  );
  t.notMatch(JSON.stringify(problems), /hunter2/);
});

void test('unquote removes one pair of equal quotes and no more', async (t) => {
  const cases: [string, string][] = [
    ['"a"', 'a'],
    ["'a'", 'a'],
    ['""a""', '"a"'],
    ['"a', '"a'],
    ['"', '"'],
    ['""', ''],
    [' a ', 'a'],
    ['"a\'', '"a\''],
  ];
  for (const [text, expected] of cases) t.equal(unquote(text), expected, text);
});

void test('any value without quotes, # and space at its ends is read as written', async (t) => {
  const value = fc.stringMatching(/^[A-Za-z0-9:/@._%?=&+,-]+$/);
  fc.assert(fc.property(value, (text) => values(`KEY=${text}\n`)['KEY'] === text));
  t.pass();
});
