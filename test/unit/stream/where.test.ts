import { test } from 'tap';
import { compileWhere, type Where, type Whose } from '../../../src/stream/where.ts';

function filter(text: string, whose: Whose = 'foreign'): Where {
  const compiled = compileWhere(text, whose);
  if (typeof compiled !== 'function') throw new Error(`${text}: ${compiled.problem}`);
  return compiled;
}

const TICK = {
  ver: 1,
  kind: 'tick',
  provider: 'ibkr',
  symbol: 'SPY',
  price: 425.5,
  size: 100,
  seq: 9_007_199_254_740_993n,
  meta: { window: '2s' },
};

void test('a filter compares fields with numbers however they are written, and with text', (t) => {
  for (const text of [
    'symbol == "SPY" && price > 425',
    'symbol in ["QQQ", "SPY"]',
    'size == 100 && size == 100.0 && size != 101',
    'size * 2 == 200 && 1 - size == -99 && price / 2 == 212.75 && 2 + price > 427',
    'seq == 9007199254740993',
    'ver == 1',
    'meta.window == "2s" && has(meta.window) && !has(meta.gone)',
    'symbol.startsWith("S") && symbol.lowerAscii() == "spy" && symbol.size() == 3',
    'side == null && interval == null',
    'kind == "bar" ? c > o : price > 1',
    '{"SPY": true}[symbol]',
  ])
    t.equal(filter(text)(TICK), true, text);
  t.equal(filter('price > 426')(TICK), false);
  t.end();
});

void test('a filter that does not fit a record does not match it, nor does what is no truth value', (t) => {
  for (const text of ['bid > 1', '!(bid > 1)', 'symbol > 1', 'price', 'meta.gone == 1', 'c.d.e == 1'])
    t.equal(filter(text)(TICK), false, text);
  t.equal(filter('bid > 1 || price > 1')(TICK), true, 'CEL asks the other side');
  t.end();
});

void test('a mistake says where it is', (t) => {
  for (const [text, at, problem] of [
    ['', 0, /ends where a value is missing/],
    ['symbl == "SPY"', 0, /symbl/],
    ['price > 1 && symbl == "SPY"', 13, /symbl/],
    ['price = 1', 6, /compares by ==/],
    ['price >', 7, /ends where a value is missing/],
    ['symbol == "SPY', 10, /closing quote/],
    ['1 + 1', 0, /not true or false/],
    ['price.nothing()', 0, /nothing/],
    [`price > ${'('.repeat(100)}1${')'.repeat(100)}`, null, /nested more than 64 deep/],
    [`price in [${'1,'.repeat(1_000)}1]`, null, /more than 1000 parts/],
    [`symbol == "${'x'.repeat(10_000)}"`, 10_000, /more than 10000 characters/],
  ] as const) {
    for (const whose of ['own', 'foreign'] as const) {
      const found = compileWhere(text, whose);
      if (typeof found === 'function') {
        t.fail(`no mistake in ${text}`);
        continue;
      }
      t.match(found.problem, problem);
      t.notMatch(found.problem, /\n/);
      if (at !== null) t.equal(found.at, at, text.slice(0, 40));
    }
  }
  t.end();
});

void test('in a server no filter takes longer than its length says; at home all of CEL is to be had', (t) => {
  for (const text of [
    'symbol.matches("^(S+)+$")',
    '[1, 2].exists(x, x == size)',
    'price > 1 && [[1], [2]].all(x, x.all(y, y > 0))',
    'cel.bind(twice, symbol + symbol, twice != "")',
    'symbol in [symbol.split("P").join("")]',
    '{"a": [1].map(x, x)}.a == [1]',
    'symbol == "SPY" ? symbol.matches("x") : true',
    '!symbol.matches("S")',
  ]) {
    t.match(
      compileWhere(text, 'foreign'),
      { problem: /not to be had here; these are: bool, contains/ },
      text,
    );
    t.type(compileWhere(text, 'own'), 'function', text);
  }
  t.equal(filter('symbol.matches("^S.Y$")', 'own')(TICK), true);
  t.end();
});
