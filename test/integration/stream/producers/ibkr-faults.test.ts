/** What TWS does to its subscribers: after each of it, later trades are published exactly once. */
import { test, type Test } from 'tap';
import { PUBLISHER_LIMITS } from '../../../../src/bus/publisher.ts';
import { events, harness, published, SECONDS, TWS, type Harness } from '../../../support/bus/ibkr.ts';
import type { TwsRequest } from '../../../support/servers/fake-tws.ts';
import { until } from '../../../support/until.ts';

/** Sends trades of SPY until one arrives, then five more, and looks for exactly those. */
async function laterTrades(t: Test, { tws, bus }: Harness): Promise<void> {
  const prices = (): number[] => events(bus).map(({ price }) => price);
  let price = 1_000_000;
  await until('a trade comes through', () => {
    price += 1;
    tws.trade('SPY', SECONDS, price, 1);
    tws.lineTrade('SPY', `${price};1;${SECONDS}000;5;425;true`);
    return prices().some((one) => one > 1_000_000);
  });
  const first = price + 1;
  for (price = first; price < first + 5; price += 1) {
    tws.trade('SPY', SECONDS, price, 1);
    tws.lineTrade('SPY', `${price};1;${SECONDS}000;5;425;true`);
  }
  await until('the last one', () => prices().includes(price - 1));
  const all = prices();
  t.strictSame(
    all.filter((one) => one >= first),
    Array.from({ length: 5 }, (_, at) => first + at),
  );
  t.equal(new Set(tws.held).size, tws.held.length, 'nothing is held twice');
}

const asked = (requests: readonly TwsRequest[], symbol: string, kind: string, type = ''): number =>
  requests.filter((one) => one.symbol === symbol && one.kind === kind && one.type === type).length;

void test('a warning about a request is no refusal, whether we know its code or not', async (t) => {
  for (const code of [10_090, 10_091, 10_167, 2_188, 99_999]) {
    const warn = ({ kind }: TwsRequest): number | null =>
      kind === 'tick_by_tick' || kind === 'line' ? code : null;
    const { tws, bus } = await harness(t, { warn }, { tws: { ...TWS, deniedMs: 60_000 } });
    await tws.subscribed('SPY', 'BidAsk');
    tws.quote('SPY', SECONDS, 4, 6);
    for (let price = 1; price <= 5; price += 1) tws.trade('SPY', SECONDS, price, 1);
    await published(bus, 5);
    t.strictSame(
      events(bus).map(({ price, bid }) => [price, bid]),
      [1, 2, 3, 4, 5].map((price) => [price, 4]),
      String(code),
    );
    t.equal(asked(tws.requests, 'SPY', 'tick_by_tick', 'Last'), 1);
  }
});

void test('"no security definition" is asked again with growing waits, of a contract and of a subscription', async (t) => {
  for (const [kind, type] of [
    ['contract', ''],
    ['tick_by_tick', 'Last'],
  ]) {
    let refused = 0;
    const here = await harness(t, {
      refuse: (request) =>
        request.symbol === 'SPY' && request.kind === kind && request.type === type && ++refused <= 3
          ? 200
          : null,
    });
    await here.tws.until((requests) => asked(requests, 'SPY', kind, type) === 4);
    await laterTrades(t, here);
    t.equal(asked(here.tws.requests, 'SPY', kind, type), 4);
    const waits = here.logs.flatMap(({ fields }) => (fields['code'] === 200 ? [fields['retry_ms']] : []));
    t.strictSame(waits, [20, 40, 80]);
  }
});

void test('a contract that TWS does not answer is asked for again', async (t) => {
  const here = await harness(t, {}, { tws: { ...TWS, answerMs: 20, staleMs: 40 } });
  await here.tws.subscribed('SPY', 'Last');
  here.tws.unanswered = 2;
  here.tws.drop();
  await here.tws.until((requests) => asked(requests, 'SPY', 'contract') >= 3);
  await laterTrades(t, here);
});

void test('after a market data farm was away, what is silent since then is subscribed again', async (t) => {
  const here = await harness(t);
  const { tws, bus } = here;
  await tws.subscribed('SPY', 'BidAsk');
  await tws.subscribed('AAPL', 'BidAsk');
  tws.announce(2104, 'Market data farm connection is OK:usfarm');
  tws.quote('SPY', SECONDS, 1, 3);
  tws.trade('SPY', SECONDS, 3, 1);
  await published(bus, 1);
  t.equal(tws.requests.length, 8, 'that a farm is there at the start is no news');
  tws.announce(2103, 'Market data farm connection is broken:usfarm');
  tws.announce(2103, 'Market data farm connection is broken:eufarm');
  tws.trade('SPY', SECONDS, 2.5, 1);
  tws.trade('AAPL', SECONDS, 5, 1);
  await published(bus, 3);
  t.match(events(bus)[1], { bid: null, ask: null, side: null }, 'quotes from before are stale');
  tws.forget();
  tws.announce(2104, 'Market data farm connection is OK:eufarm');
  tws.announce(2104, 'Market data farm connection is OK:usfarm');
  await tws.subscribed('SPY', 'BidAsk', 2);
  await tws.subscribed('AAPL', 'BidAsk', 2);
  t.equal(asked(tws.requests, 'SPY', 'tick_by_tick', 'Last'), 1, 'trades have come since: another farm');
  // they come no more, as this TWS forgot them
  tws.announce(2103, 'Market data farm connection is broken:usfarm');
  await until('it is known', () => here.logs.filter(({ fields }) => fields['code'] === 2103).length === 3);
  tws.announce(2104, 'Market data farm connection is OK:usfarm');
  await tws.subscribed('SPY', 'Last', 2);
  await tws.subscribed('AAPL', 'BidAsk', 3);
  await until('all are held', () => tws.held.length === 4);
  await laterTrades(t, here);
  t.equal(tws.connections, 1);
});

void test('subscriptions that outlive a farm are replaced, not doubled', async (t) => {
  for (const tickByTickMax of [Infinity, 0]) {
    const here = await harness(t, { tickByTickMax });
    const type = tickByTickMax === 0 ? 'line' : 'BidAsk';
    for (let times = 1; times <= 3; times += 1) {
      await here.tws.subscribed('SPY', type, times);
      here.tws.announce(2103, 'Market data farm connection is broken:usfarm');
      await until(
        'it is known',
        () => here.logs.filter(({ fields }) => fields['code'] === 2103).length === times,
      );
      here.tws.announce(2104, 'Market data farm connection is OK:usfarm');
    }
    await here.tws.subscribed('SPY', type, 4);
    await laterTrades(t, here);
    t.equal(here.tws.held.filter((one) => one.startsWith('SPY')).length, tickByTickMax === 0 ? 1 : 2);
  }
});

void test('what Interactive Brokers lost is subscribed again once: lines, and what was refused or under way', async (t) => {
  let isAway = true;
  const here = await harness(
    t,
    {
      tickByTickMax: 2,
      refuse: ({ symbol, type }) => (isAway && symbol === 'AAPL' && type === 'line' ? 354 : null),
    },
    { tws: { ...TWS, deniedMs: 60, deniedMaxMs: 60 } },
  );
  const { tws } = here;
  await tws.subscribed('AAPL', 'line');
  tws.unanswered = 1;
  for (let times = 2; times <= 5; times += 1) {
    tws.forget();
    tws.announce(1100, 'Connectivity between IB and TWS has been lost');
    tws.announce(1101, 'Connectivity has been restored, data lost');
    await tws.subscribed('AAPL', 'line', times);
  }
  isAway = false;
  await until('the line is held', () => tws.held.includes('AAPL line'));
  await until('both are held', () => tws.held.some((one) => one.startsWith('SPY')));
  await laterTrades(t, here);
  tws.trade('AAPL', SECONDS, 5, 1);
  tws.lineTrade('AAPL', `5;1;${SECONDS}000;5;425;true`);
  await until('its trade', () => events(here.bus).some(({ symbol }) => symbol === 'AAPL'));
  t.equal(events(here.bus).filter(({ symbol }) => symbol === 'AAPL').length, 1);
  t.equal(tws.connections, 1);
});

void test('a request that waits after a refusal is not sent besides the one after 1101', async (t) => {
  let refused = 0;
  const here = await harness(
    t,
    { refuse: ({ symbol, type }) => (symbol === 'SPY' && type === 'Last' && ++refused === 1 ? 354 : null) },
    { tws: { ...TWS, deniedMs: 300 } },
  );
  await here.tws.subscribed('SPY', 'BidAsk');
  await here.tws.subscribed('AAPL', 'BidAsk');
  await until('it is refused', () => here.logs.some(({ fields }) => fields['code'] === 354));
  here.tws.announce(1101, 'Connectivity has been restored, data lost');
  await here.tws.subscribed('SPY', 'Last', 2);
  await laterTrades(t, here);
  // another wait of the same length that began later has passed, and so has the first one
  await here.tws.subscribed('AAPL', 'Last', 2);
  here.tws.complain('AAPL', 'Last', 354, 'not subscribed');
  await here.tws.subscribed('AAPL', 'Last', 3);
  t.equal(asked(here.tws.requests, 'SPY', 'tick_by_tick', 'Last'), 2);
});

void test('what is silent while its exchange is open is asked for again; what is closed may be silent', async (t) => {
  const closed = { zone: 'GMT', trading: '20200101:CLOSED;29991231:CLOSED', liquid: '' };
  const open = { zone: 'GMT', trading: '20200101:0000-29991231:2359', liquid: '20200101:CLOSED' };
  for (const tickByTickMax of [Infinity, 0]) {
    const type = tickByTickMax === 0 ? 'line' : 'Last';
    const here = await harness(
      t,
      { tickByTickMax, hours: { SPY: open, AAPL: closed }, contracts: { SPY: [1], AAPL: [2], QQQ: [3] } },
      { symbols: ['AAPL', 'SPY', 'QQQ'], tws: { ...TWS, staleMs: 40 } },
    );
    const { tws } = here;
    await tws.subscribed('SPY', type);
    await tws.subscribed('AAPL', type);
    await tws.subscribed('QQQ', type);
    tws.forget();
    // QQQ: TWS does not say when it is open
    await tws.subscribed('SPY', type, 3);
    await tws.subscribed('QQQ', type, 3);
    await laterTrades(t, here);
    t.equal(asked(tws.requests, 'AAPL', type === 'line' ? 'line' : 'tick_by_tick', type), 1);
    t.ok(here.logs.some(({ message }) => /although the exchange is open/.test(message)));
  }
});

void test('during a competing session each request replaces the one before', async (t) => {
  let told = 0;
  const here = await harness(t, {
    warn: ({ symbol, type }) => (symbol === 'SPY' && type === 'Last' && ++told <= 7 ? 10_197 : null),
  });
  const { tws, bus } = here;
  await tws.subscribed('SPY', 'Last', 8);
  t.strictSame(tws.held, ['AAPL BidAsk', 'AAPL Last', 'SPY BidAsk', 'SPY Last']);
  await laterTrades(t, here);
  // the same in the middle of the day, several times for one request; then data comes without having been asked for
  for (let times = 0; times < 10; times += 1) tws.complain('SPY', 'Last', 10_197, 'competing live session');
  tws.trade('SPY', SECONDS, 7, 1);
  await until('it comes', () => events(bus).some(({ price }) => price === 7));
  t.equal(asked(tws.requests, 'SPY', 'tick_by_tick', 'Last'), 8);
});

void test('while TWS is cut off from its servers quotes are stale and decide no side', async (t) => {
  for (const code of [1100, 2110]) {
    const here = await harness(t);
    const { tws, bus } = here;
    await tws.subscribed('SPY', 'BidAsk');
    tws.quote('SPY', SECONDS, 425.14, 425.16);
    tws.trade('SPY', SECONDS, 425.16, 1);
    tws.announce(code, 'Connectivity is broken. It will be restored automatically.');
    tws.trade('SPY', SECONDS, 425.16, 2);
    tws.quote('SPY', SECONDS, 425.1, 425.2);
    tws.trade('SPY', SECONDS, 425.1, 3);
    await published(bus, 3);
    t.strictSame(
      events(bus).map(({ size, bid, ask, side }) => [size, bid, ask, side]),
      [
        [1, 425.14, 425.16, 1],
        [2, null, null, null],
        [3, 425.1, 425.2, -1],
      ],
      String(code),
    );
    await laterTrades(t, here);
  }
});

void test('a tick-by-tick request that is refused without a known reason twice gives way to a line', async (t) => {
  const here = await harness(t, {
    refuse: ({ symbol, type }) => (symbol === 'SPY' && type === 'Last' ? 321 : null),
  });
  await here.tws.subscribed('SPY', 'line');
  await laterTrades(t, here);
  t.equal(asked(here.tws.requests, 'SPY', 'tick_by_tick', 'Last'), 2);
});

void test('what stands for no value is none: the trade is kept without a size, and is none without a price', async (t) => {
  const { tws, bus, meter } = await harness(t);
  await tws.subscribed('SPY', 'Last');
  await tws.subscribed('SPY', 'BidAsk');
  tws.quote('SPY', SECONDS, -1, '1.7976931348623157E308');
  for (const size of [
    '2147483647',
    '9223372036854775807',
    '',
    '-1',
    '170141183460469231731687303715884105727',
  ])
    tws.trade('SPY', SECONDS, 425, size);
  for (const price of [0, -1, '', '1.7976931348623157E308']) tws.trade('SPY', SECONDS, price, 100);
  tws.trade('SPY', SECONDS, 426, 100);
  await published(bus, 6);
  t.strictSame(
    events(bus).map(({ price, size, bid, ask }) => [price, size, bid, ask]),
    [...Array.from({ length: 5 }, () => [425, null, null, null]), [426, 100, null, null]],
  );
  t.equal(meter.values.get('errors_total{component=producer_ibkr,reason=tws_no_price}'), 4);
});

void test('the same by the text of a market data line', async (t) => {
  const { tws, bus } = await harness(t, { tickByTickMax: 0 });
  await tws.subscribed('SPY', 'line');
  tws.lineQuote('SPY', -1, 0);
  for (const size of ['2147483647', '9223372036854775807', '', '-1'])
    tws.lineTrade('SPY', `425;${size};${SECONDS}000;5;425;true`);
  for (const price of ['0', '-1', '', '0.0']) tws.lineTrade('SPY', `${price};100;${SECONDS}000;5;425;true`);
  tws.lineTrade('SPY', `426;100;${SECONDS}000;5;425;true`);
  await published(bus, 5);
  t.strictSame(
    events(bus).map(({ price, size, bid, ask }) => [price, size, bid, ask]),
    [...Array.from({ length: 4 }, () => [425, null, null, null]), [426, 100, null, null]],
  );
});

void test('while a full bus keeps us from reading, TWS is not taken for silent', async (t) => {
  const count = 20_000;
  const { tws, bus, producer } = await harness(
    t,
    {},
    {
      symbols: ['SPY'],
      limits: { ...PUBLISHER_LIMITS, queueRecords: 1000 },
      tws: { ...TWS, silentMs: 100, staleMs: 150 },
    },
  );
  await tws.subscribed('SPY', 'BidAsk');
  const gate = Promise.withResolvers<void>();
  bus.held = gate.promise;
  for (let price = 1; price <= count; price += 1) tws.trade('SPY', SECONDS, price, 1);
  let queued = -1;
  await until('it stands still', () => {
    const stands = queued === producer.progress.queued && queued > 10_000;
    queued = producer.progress.queued;
    return stands;
  });
  const asks = asked(tws.requests, 'SPY', 'tick_by_tick', 'Last');
  const end = performance.now() + 5 * 150;
  await until('the limits of silence are over', () => performance.now() > end);
  t.equal(asked(tws.requests, 'SPY', 'tick_by_tick', 'Last'), asks);
  bus.held = null;
  gate.resolve();
  await published(bus, count);
  t.strictSame(
    events(bus).map(({ price }) => price),
    Array.from({ length: count }, (_, at) => at + 1),
  );
  t.equal(tws.connections, 1);
});
