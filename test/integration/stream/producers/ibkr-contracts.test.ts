import { readFileSync } from 'node:fs';
import { test } from 'tap';
import { loadStreamingConfig } from '../../../../src/run/config/streaming/load.ts';
import { events, harness, published, SECONDS } from '../../../support/bus/ibkr.ts';
import { until } from '../../../support/until.ts';

const page = readFileSync(new URL('../../../../docs/events.md', import.meta.url), 'utf8');
const yaml = /```yaml\n(producers:\n {2}ibkr:\n[\s\S]*?)```/.exec(page)?.[1] ?? '';
/** The examples of docs/events.md. */
const { symbols, contracts } = loadStreamingConfig(
  'docs/events.md',
  () => null,
  () => `version: 1\n${yaml}`,
).producers.ibkr;

const IDS = { SPY: [1], VOD: [2], ES: [3], EUR: [4], BTC: [5], AAPL: [6], QQQ: [320_227_571] };

void test('the contracts of the documentation are asked for as they are written, and deliver', async (t) => {
  const { tws, bus } = await harness(t, { contracts: IDS }, { symbols, contracts });
  await tws.subscribed('SPY', 'BidAsk');
  await tws.subscribed('VOD', 'Last');
  await tws.subscribed('ES', 'BidAsk');
  await tws.subscribed('EUR', 'BidAsk');
  await tws.subscribed('BTC', 'Last');
  await tws.subscribed('AAPL', 'line');
  await tws.subscribed('QQQ', 'BidAsk');
  t.strictSame(
    tws.requests.filter(({ kind }) => kind === 'contract').map(({ contract }) => contract),
    [
      { symbol: 'SPY', secType: 'STK', exchange: 'SMART', currency: 'USD' },
      { symbol: 'VOD', secType: 'STK', exchange: 'SMART', primaryExchange: 'LSE', currency: 'GBP' },
      { symbol: 'ES', secType: 'FUT', expiry: '202612', exchange: 'CME', currency: 'USD' },
      { symbol: 'EUR', secType: 'CASH', exchange: 'IDEALPRO', currency: 'USD' },
      { symbol: 'BTC', secType: 'CRYPTO', exchange: 'PAXOS', currency: 'USD' },
      {
        symbol: 'AAPL',
        secType: 'OPT',
        expiry: '20261218',
        strike: '250',
        right: 'C',
        exchange: 'SMART',
        currency: 'USD',
      },
      { conId: '320227571', exchange: 'SMART' },
    ],
  );
  t.strictSame(
    tws.requests.find(({ symbol, type }) => symbol === 'ES' && type === 'Last')?.contract,
    { conId: '3', exchange: 'CME' },
    'a subscription names the instrument by its number',
  );
  tws.trade('VOD', SECONDS, 72.5, 100);
  tws.trade('ES', SECONDS, -0.25, 2);
  tws.quote('EUR', SECONDS, 1.1, 1.1001);
  tws.quote('EUR', SECONDS, 1.1, 1.1001);
  tws.trade('BTC', SECONDS, 108_000.5, 0.00012345);
  tws.lineQuote('AAPL', 12.3, 12.5);
  tws.lineTrade('AAPL', `12.5;3;${SECONDS}123;5;12;true`);
  tws.trade('QQQ', SECONDS, 600, 1);
  await published(bus, 6);
  t.strictSame(
    events(bus)
      .toSorted((a, b) => (a.symbol < b.symbol ? -1 : 1))
      .map(({ symbol, price, size, bid }) => [symbol, price, size, bid]),
    [
      ['AAPL261218C250', 12.5, 3, 12.3],
      ['BTC.USD', 108_000.5, 0.00012345, null],
      ['ESZ6', -0.25, 2, null],
      ['EUR.USD', 1.10005, null, 1.1],
      ['QQQ', 600, 1, null],
      ['VOD.L', 72.5, 100, null],
    ],
  );
});

void test('beyond the limit of tick-by-tick subscriptions an instrument without trades has its quotes from a line', async (t) => {
  const { tws, bus } = await harness(
    t,
    { contracts: IDS, tickByTickMax: 0 },
    { symbols: [], contracts: contracts.filter(({ name }) => name === 'EUR.USD' || name === 'ESZ6') },
  );
  await tws.subscribed('EUR', 'line');
  await tws.subscribed('ES', 'line');
  const generic = (symbol: string): string | undefined =>
    tws.requests.find((one) => one.symbol === symbol && one.kind === 'line')?.generic;
  t.equal(generic('EUR'), '', 'TWS refuses RTVolume of forex');
  t.equal(generic('ES'), '233');
  tws.lineQuote('EUR', 1.1, 1.2);
  tws.lineQuote('EUR', 1.2, 1.2);
  await published(bus, 2);
  t.strictSame(
    events(bus).map(({ symbol, price, bid, ask, side }) => [symbol, price, bid, ask, side]),
    [
      ['EUR.USD', 1.15, 1.1, 1.2, null],
      ['EUR.USD', 1.2, 1.2, 1.2, null],
    ],
  );
});

void test('a future without a month is several: the log names them, and nothing is subscribed', async (t) => {
  const { tws, logs } = await harness(
    t,
    { contracts: { ES: [3, 4] } },
    {
      symbols: [],
      contracts: [{ name: 'ES', symbol: 'ES', secType: 'FUT', exchange: 'CME', currency: 'USD' }],
    },
  );
  const told = await until('the log names them', () =>
    logs.find(({ message }) => /not one instrument/.test(message)),
  );
  t.match(told.fields['contracts'], ['3 CME ES', '4 CME ES']);
  t.strictSame(tws.held, []);
});
