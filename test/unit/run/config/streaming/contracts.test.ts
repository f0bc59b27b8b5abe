import { test } from 'tap';
import { loadStreamingConfig, type StreamingConfig } from '../../../../../src/run/config/streaming/load.ts';
import { YamlError } from '../../../../../src/run/config/streaming/yaml.ts';

function ibkr(...lines: string[]): StreamingConfig['producers']['ibkr'] {
  const text = ['version: 1', 'producers:', '  ibkr:', ...lines.map((line) => `    ${line}`)].join('\n');
  return loadStreamingConfig(
    'file.yaml',
    () => null,
    () => text,
  ).producers.ibkr;
}

function mistakes(...lines: string[]): [number, string, string][] {
  try {
    ibkr(...lines);
  } catch (error) {
    if (error instanceof YamlError) {
      return error.problems.map(({ line, path, problem }) => [line, path, problem]);
    }
    throw error;
  }
  throw new Error('no mistake was found');
}

void test('a contract says what differs from a US stock', (t) => {
  t.strictSame(
    ibkr(
      'contracts:',
      '  - { symbol: BRK B, currency: USD }',
      '  - { name: ESZ6, symbol: ES, secType: FUT, exchange: CME, currency: USD, expiry: 202612, multiplier: 50 }',
      '  - { name: X, symbol: AAPL, secType: OPT, currency: USD, expiry: "20261218", strike: 250.5, right: PUT }',
      '  - { name: QQQ, conId: 320227571 }',
    ).contracts,
    [
      { symbol: 'BRK B', currency: 'USD', name: 'BRK.B', exchange: 'SMART', secType: 'STK' },
      {
        name: 'ESZ6',
        symbol: 'ES',
        secType: 'FUT',
        exchange: 'CME',
        currency: 'USD',
        expiry: '202612',
        multiplier: 50,
      },
      {
        name: 'X',
        symbol: 'AAPL',
        secType: 'OPT',
        exchange: 'SMART',
        currency: 'USD',
        expiry: '20261218',
        strike: 250.5,
        right: 'P',
      },
      { name: 'QQQ', conId: 320_227_571, exchange: 'SMART' },
    ],
  );
  t.end();
});

void test('SPY is the default only where nothing else is named', (t) => {
  t.strictSame(ibkr('enabled: true').symbols, ['SPY']);
  t.strictSame(ibkr('contracts: [{ name: QQQ, conId: 1 }]').symbols, []);
  t.strictSame(ibkr('symbols: [aapl]', 'contracts: [{ name: QQQ, conId: 1 }]').symbols, ['aapl']);
  t.end();
});

void test('what cannot be one instrument is named with its line', (t) => {
  const cases: [string, RegExp][] = [
    ['{ symbol: ES, secType: FUT, exchange: CME, currency: USD }', /needs expiry/],
    ['{ symbol: ES, secType: FUT, currency: USD, expiry: "202612" }', /needs exchange/],
    ['{ symbol: EUR, secType: CASH, exchange: IDEALPRO }', /needs currency/],
    ['{ symbol: A, secType: OPT, currency: USD, expiry: "202612", right: C }', /needs strike and right/],
    ['{ localSymbol: ESZ6, secType: FUT, exchange: CME, currency: USD }', /needs name/],
    ['{ name: A, currency: USD }', /needs symbol, localSymbol or conId/],
    ['{ symbol: A, currency: USD, secType: STOCK }', /STK/],
    ['{ symbol: A, currency: USD, expiry: "1/2026" }', /YYYYMM/],
    ['{ symbol: A, currency: USD, strike: 0 }', /0/],
    ['{ symbol: A, currency: USD, right: X }', /CALL/],
    ['{ symbol: A, currency: USD, sectype: STK }', /not a key/],
    ['{ name: "A|B", conId: 1 }', /\|/],
  ];
  for (const [contract, problem] of cases) {
    const [line, path, found] = mistakes('contracts:', '  - { name: GOOD, conId: 1 }', `  - ${contract}`)[0];
    t.equal(line, 6, contract);
    t.match(path, /^producers\.ibkr\.contracts\.1/, contract);
    t.match(found, problem, contract);
  }
  for (const twice of [
    ['symbols: [spy]', 'contracts: [{ name: SPY, conId: 1 }]'],
    ['contracts: [{ name: SPY, conId: 1 }, { name: spy, conId: 2 }]'],
  ]) {
    t.match(mistakes(...twice), [[Number, /contracts/, /which is taken/]]);
  }
  t.end();
});
