import { test } from 'tap';
import { PUBLISHER_LIMITS } from '../../../../src/bus/publisher.ts';
import { IbkrProducer } from '../../../../src/stream/producers/ibkr/producer.ts';
import { FakeTws } from '../../../support/servers/fake-tws.ts';
import { events, harness, published, SECONDS, TWS } from '../../../support/bus/ibkr.ts';
import { PublishBus } from '../../../support/bus/publish-bus.ts';
import { until } from '../../../support/until.ts';

void test('handshake, contracts, subscriptions, trades with their quotes', async (t) => {
  const { tws, bus, meter } = await harness(t);
  await tws.subscribed('SPY', 'BidAsk');
  await tws.subscribed('AAPL', 'BidAsk');
  tws.quote('SPY', SECONDS, 425.14, 425.16);
  tws.trade('SPY', SECONDS, 425.16, 100);
  tws.trade('SPY', SECONDS, 425.15, '1,200');
  tws.trade('AAPL', SECONDS + 1, 231.5, 0.5);
  tws.trade('SPY', SECONDS + 1, 425.14, 7);
  await published(bus, 4);
  const spy = events(bus).filter(({ symbol }) => symbol === 'SPY');
  t.match(spy, [
    {
      provider: 'ibkr_primary',
      srcTs: BigInt(SECONDS) * 1_000_000n,
      price: 425.16,
      size: 100,
      bid: 425.14,
      side: 1,
    },
    { price: 425.15, size: 1200, ask: 425.16, side: null },
    { srcTs: BigInt(SECONDS + 1) * 1_000_000n, price: 425.14, size: 7, side: -1 },
  ]);
  t.ok(spy[0].seq < spy[1].seq, 'two trades of one second are two');
  t.match(
    events(bus).find(({ symbol }) => symbol === 'AAPL'),
    { price: 231.5, size: 0.5, bid: null, side: null },
  );
  t.equal(
    meter.values.get('stream_events_ingested_total{bus=redis,topic=mdp.events,provider=ibkr_primary}'),
    4,
  );
  t.strictSame(
    tws.requests.slice(0, 2).map(({ kind, type }) => [kind, type]),
    [
      ['start', 'handshake'],
      ['start', ''],
    ],
  );
});

void test('a connection that is cut is made again, and everything subscribed again', async (t) => {
  const { tws, bus, logs } = await harness(t);
  await tws.subscribed('SPY', 'BidAsk');
  tws.quote('SPY', SECONDS, 425.14, 425.16);
  tws.trade('SPY', SECONDS, 425.16, 100);
  await published(bus, 1);
  for (let times = 2; times <= 4; times += 1) {
    tws.drop();
    await tws.subscribed('SPY', 'Last', times);
    tws.trade('SPY', SECONDS + times, 400 + times, 1);
    await published(bus, times);
  }
  t.strictSame(
    events(bus).map(({ price, bid }) => [price, bid]),
    [
      [425.16, 425.14],
      [402, null],
      [403, null],
      [404, null],
    ],
    'the quote from before the break is not told with later trades',
  );
  t.equal(tws.connections, 4);
  t.ok(logs.some(({ message }) => /will reconnect/.test(message)));
});

void test('a TWS that is not there is waited for', async (t) => {
  const tws = await FakeTws.start();
  await tws.stop();
  const bus = new PublishBus();
  const why: unknown[] = [];
  const producer = new IbkrProducer({
    bus,
    env: {
      log: (_, message, fields) => {
        if (/will reconnect/.test(message)) why.push(fields['why']);
      },
    },
    host: '127.0.0.1',
    port: tws.port,
    clientId: 7,
    providerId: 'ibkr_primary',
    symbols: ['SPY'],
    reconnect: { firstMs: 1, maxMs: 5 },
    tws: TWS,
  });
  await producer.start();
  await until('some attempts', () => why.length >= 3);
  t.match(why[0], /ECONNREFUSED/);
  await tws.listen();
  await tws.subscribed('SPY', 'Last');
  tws.trade('SPY', SECONDS, 425.16, 100);
  await published(bus, 1);
  await producer.stop();
  await tws.stop();
});

void test('requests keep their distance, however many there are', async (t) => {
  const symbols = Array.from({ length: 25 }, (_, at) => `S${at}`);
  const contracts = Object.fromEntries(symbols.map((symbol, at) => [symbol, [1000 + at]]));
  const { tws, meter } = await harness(
    t,
    { contracts, perSecondMax: 45 },
    { symbols, tws: { ...TWS, spacingMs: 23 } },
  );
  await tws.until((requests) => requests.filter(({ kind }) => kind === 'tick_by_tick').length === 50);
  t.equal(meter.values.get('errors_total{component=producer_ibkr,reason=tws_pacing}') ?? 0, 0);
  t.equal(tws.connections, 1);
});

void test('a request that was refused for its pace is sent again', async (t) => {
  const refused = new Set<string>();
  const { tws, bus, meter } = await harness(t, {
    refuse: ({ kind, symbol, type }) => {
      const key = `${kind} ${symbol} ${type}`;
      if (kind === 'start' || refused.has(key)) return null;
      refused.add(key);
      return 100;
    },
  });
  await tws.subscribed('SPY', 'Last', 2);
  await tws.subscribed('AAPL', 'Last', 2);
  tws.trade('SPY', SECONDS, 1, 1);
  tws.trade('AAPL', SECONDS, 2, 1);
  await published(bus, 2);
  t.ok((meter.values.get('errors_total{component=producer_ibkr,reason=tws_pacing}') ?? 0) >= 4);
  t.equal(tws.connections, 1);
});

void test('beyond the limit of tick-by-tick subscriptions a market data line gives trades and quotes', async (t) => {
  const { tws, bus } = await harness(t, { tickByTickMax: 1 });
  // SPY has its trades tick by tick, its quotes from a line; AAPL has both from a line
  await tws.subscribed('SPY', 'line');
  await tws.subscribed('AAPL', 'line');
  tws.lineQuote('SPY', 425.14, 425.16);
  tws.trade('SPY', SECONDS, 425.16, 100);
  tws.lineTrade('SPY', `425.16;100;${SECONDS}123;5;425;true`);
  tws.lineQuote('AAPL', 231.4, 231.6);
  tws.lineTrade('AAPL', `231.4;3;${SECONDS}456;5;231;true`);
  tws.lineTrade('AAPL', `;0;${SECONDS}500;5;231;true`);
  tws.trade('SPY', SECONDS, 425.14, 100);
  await published(bus, 3);
  t.match(
    events(bus).filter(({ symbol }) => symbol === 'AAPL'),
    [
      {
        price: 231.4,
        size: 3,
        srcTs: BigInt(SECONDS) * 1_000_000n + 456_000n,
        bid: 231.4,
        ask: 231.6,
        side: -1,
      },
    ],
  );
  t.strictSame(
    events(bus)
      .filter(({ symbol }) => symbol === 'SPY')
      .map(({ price, bid, side }) => [price, bid, side]),
    [
      [425.16, 425.14, 1],
      [425.14, 425.14, -1],
    ],
    'a trade is not told twice',
  );
});

void test('what Interactive Brokers lost is subscribed again, and nothing when the data stayed', async (t) => {
  const { tws, bus } = await harness(t);
  await tws.subscribed('SPY', 'BidAsk');
  await tws.subscribed('AAPL', 'BidAsk');
  tws.quote('SPY', SECONDS, 425.14, 425.16);
  tws.announce(1100, 'Connectivity between IB and TWS has been lost');
  tws.announce(1102, 'Connectivity has been restored, data maintained');
  tws.trade('SPY', SECONDS, 425.16, 100);
  await published(bus, 1);
  t.equal(events(bus)[0].bid, null, 'the quote from before is not believed');
  t.equal(tws.requests.filter(({ kind }) => kind === 'tick_by_tick').length, 4);
  tws.announce(1101, 'Connectivity has been restored, data lost');
  await tws.subscribed('SPY', 'Last', 2);
  await tws.subscribed('AAPL', 'BidAsk', 2);
  t.equal(tws.connections, 1);
});

void test('symbols that are none, or several, are left out; the others go on', async (t) => {
  const contracts = { SPY: [1], TWICE: [2, 3] };
  const { tws, bus, meter, logs } = await harness(t, { contracts }, { symbols: ['NONE', 'TWICE', 'SPY'] });
  await tws.subscribed('SPY', 'Last');
  tws.trade('SPY', SECONDS, 425.16, 100);
  await published(bus, 1);
  t.ok((meter.values.get('errors_total{component=producer_ibkr,reason=tws_no_contract}') ?? 0) >= 2);
  t.ok(logs.some(({ fields }) => fields['symbol'] === 'NONE' && fields['code'] === 200));
  t.ok(
    logs.some(({ message, fields }) => /not one instrument/.test(message) && fields['symbol'] === 'TWICE'),
  );
  t.equal(tws.requests.filter(({ symbol, kind }) => symbol === 'TWICE' && kind !== 'contract').length, 0);
});

void test('what is denied is asked for again later', async (t) => {
  let denied = 0;
  const { tws, bus } = await harness(t, {
    refuse: ({ symbol, type }) => (symbol === 'SPY' && type === 'Last' && ++denied <= 3 ? 354 : null),
  });
  await tws.subscribed('SPY', 'Last', 4);
  tws.trade('SPY', SECONDS, 425.16, 100);
  await published(bus, 1);
  t.equal(tws.connections, 1);
});

void test('a client id that is in use is tried again on a new connection', async (t) => {
  let refused = 0;
  const { tws, logs } = await harness(t, {
    refuse: ({ kind }) => (kind === 'start' && ++refused <= 2 ? 326 : null),
  });
  await tws.subscribed('SPY', 'Last');
  t.equal(tws.connections, 3);
  t.ok(logs.some(({ fields }) => String(fields['why']).startsWith('326')));
});

void test('a TWS that says nothing any more is left, and so is one that never answers', async (t) => {
  const { tws, bus, logs } = await harness(t, {}, { tws: { ...TWS, silentMs: 30, connectMs: 100 } });
  await tws.subscribed('SPY', 'Last');
  await until('it is asked', () => tws.requests.some(({ kind }) => kind === 'time'));
  t.equal(tws.connections, 1, 'an answer is enough');
  tws.mute = true;
  await until('another connection', () => tws.connections >= 3);
  tws.mute = false;
  await until('it is taken', () => {
    tws.trade('SPY', SECONDS, 425.16, 100);
    return events(bus).length > 0;
  });
  const why = logs.map(({ fields }) => String(fields['why']));
  t.ok(why.some((text) => /silent/.test(text)));
  t.ok(why.some((text) => /no handshake/.test(text)));
});

void test('a full bus makes TWS wait; nothing is lost, nothing twice', async (t) => {
  const count = 60_000;
  const gate = Promise.withResolvers<void>();
  const { tws, bus, producer } = await harness(
    t,
    {},
    { limits: { ...PUBLISHER_LIMITS, queueRecords: 1000 } },
  );
  await tws.subscribed('SPY', 'Last');
  bus.held = gate.promise;
  for (let at = 1; at <= count; at += 1) tws.trade('SPY', SECONDS, at, 1);
  let most = 0;
  await until('it stands still', () => {
    const grew = producer.progress.queued > most;
    most = Math.max(most, producer.progress.queued);
    return most > 10_000 && !grew;
  });
  t.ok(most < 25_000, `${most} of ${count} are held`);
  bus.held = null;
  gate.resolve();
  await published(bus, count);
  t.strictSame(
    events(bus).map(({ price }) => price),
    Array.from({ length: count }, (_, at) => at + 1),
  );
});

void test('stop() publishes what was read', async (t) => {
  const { tws, bus, producer } = await harness(t);
  await tws.subscribed('SPY', 'Last');
  const gate = Promise.withResolvers<void>();
  bus.held = gate.promise;
  for (let at = 1; at <= 3000; at += 1) tws.trade('SPY', SECONDS, at, 1);
  await until('all are read', () => producer.progress.queued === 3000);
  const stopped = producer.stop();
  bus.held = null;
  gate.resolve();
  await stopped;
  t.equal(events(bus).length, 3000);
  await producer.done;
});

void test('a trade that is no event is counted and left out', async (t) => {
  const { tws, bus, meter } = await harness(t);
  await tws.subscribed('SPY', 'Last');
  tws.trade('SPY', SECONDS, 'NaN', 1);
  tws.trade('SPY', SECONDS, 2, 1);
  await published(bus, 1);
  t.equal(events(bus)[0].price, 2);
  t.equal(meter.values.get('errors_total{component=producer_ibkr,reason=not_finite}'), 1);
});

void test('a bus that is set up wrongly ends it with the reason', async (t) => {
  const { tws, bus, producer } = await harness(t);
  bus.verdict = () => 'setup';
  await tws.subscribed('SPY', 'Last');
  tws.trade('SPY', SECONDS, 1, 1);
  await t.rejects(producer.done, /scripted: setup/);
});
