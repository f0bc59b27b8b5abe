import { test } from 'tap';
import { createRedactor, urlSecrets } from '../../../../src/run/config/redact.ts';

void test('passwords are taken out of every usual form', async (t) => {
  const redact = createRedactor();
  const cases: [string, string][] = [
    ['connect postgres://fermi:s3cret@db:5432/x failed', 'connect postgres://fermi:***@db:5432/x failed'],
    ['postgres://fermi:p@ss/w?rd@db/x', 'postgres://fermi:***@db/x'],
    ['redis://:s3cret@h and rediss://u:s3cret@h', 'redis://:***@h and rediss://u:***@h'],
    ["host=db password='a b' user=x", 'host=db password=*** user=x'],
    ['postgres://u@h/d?password=s3cret&x=1', 'postgres://u@h/d?password=***&x=1'],
    ['authorization: Bearer abcdef0123456789', 'authorization: Bearer ***'],
    ['{"apiToken":"s3cret","token_count":3}', '{"apiToken":"***","token_count":3}'],
    ['{"password":"a\\"b"}', '{"password":"***"}'],
    ['http://localhost:8081/metrics', 'http://localhost:8081/metrics'],
    ['postgres://localhost/db', 'postgres://localhost/db'],
  ];
  for (const [text, expected] of cases) t.equal(redact(text), expected, text);
});

void test('known secrets go wherever they stand, plain or escaped', async (t) => {
  const redact = createRedactor(['p@ss"word/1', 'tiny']);
  t.equal(redact('x p@ss"word/1 y'), 'x *** y');
  t.equal(redact(JSON.stringify({ note: 'p@ss"word/1' })), '{"note":"***"}');
  t.equal(redact(`q=${encodeURIComponent('p@ss"word/1')}`), 'q=***');
  t.equal(redact('tiny words stay'), 'tiny words stay', 'too short to be blackened everywhere');
});

void test('the secrets of a URL are its password, written and decoded', async (t) => {
  t.strictSame(urlSecrets('postgres://u:p%40ssword@h/db'), ['p%40ssword', 'p@ssword']);
  t.strictSame(urlSecrets('postgres://u:longpassword@/db?host=/run'), ['longpassword', 'longpassword']);
  t.strictSame(
    urlSecrets('postgres://postgres:postgres@h/market_data'),
    [],
    'a word of the URL itself is not blackened',
  );
  t.strictSame(urlSecrets('postgres://u:a#b?c:d@h/db'), ['a#b?c:d', 'a#b?c:d']);
  t.strictSame(urlSecrets('postgres://u@h/db?password=a%23bcdef&sslpassword=ghijkl'), ['a#bcdef', 'ghijkl']);
  t.strictSame(urlSecrets('redis://:p%40ssword@h:6379'), ['p%40ssword', 'p@ssword']);
  t.strictSame(urlSecrets('postgres://h/db'), []);
  t.strictSame(urlSecrets('nonsense'), []);
});

// A search that is quadratic in the line would not end within the limit of a test file.
void test('a long line costs no more than its length', async (t) => {
  const redact = createRedactor(['secretsecret']);
  for (const part of [
    '0',
    '://a:',
    '://',
    'password',
    '"password',
    '"password"',
    'bearer ',
    'password=',
    '\\"',
    "password='",
  ]) {
    const line = part.repeat(400_000);
    t.equal(typeof redact(line), 'string', JSON.stringify(part));
    t.equal(typeof redact(`${line} http://h ${line}`), 'string', JSON.stringify(part));
    t.equal(typeof redact(`"${line}@`), 'string', JSON.stringify(part));
  }
});
