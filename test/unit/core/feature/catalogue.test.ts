import { test } from 'tap';
import { DEFAULT_FEATURES, featureSet, WINDOWED } from '../../../../src/core/feature/catalogue.ts';

const named =
  (name: string, horizonMs = 60_000, gridMs = 1_000) =>
  (): unknown =>
    featureSet({ ...DEFAULT_FEATURES, gridMs, windows: [{ name, horizonMs }] });

void test('without configuration there are the base names with their windows', (t) => {
  const set = featureSet();
  t.same(
    set.specs.map(({ name, kind, horizonMs }) => [name, kind, horizonMs]),
    [
      ['vwap', 'vwap', 60_000],
      ['ret', 'ret', 30_000],
      ['momentum', 'ret', 60_000],
      ['vol', 'vol', 300_000],
      ['volatility', 'volatility', 300_000],
      ['rsi', 'rsi', null],
      ['skewness', 'skewness', 300_000],
      ['kurtosis', 'kurtosis', 300_000],
      ['bollinger', 'bollinger', null],
      ['tick_rate_z', 'tick_rate_z', null],
      ['spread_bps', 'spread_bps', null],
      ['vwap_deviation_bps', 'vwap_deviation_bps', null],
      ['order_imbalance', 'order_imbalance', 60_000],
      ['vp_distance_bps', 'vp_distance_bps', null],
    ],
  );
  t.same(
    set.names,
    set.specs.map(({ name }) => name),
  );
  t.same(WINDOWED, [
    'vwap',
    'ret',
    'momentum',
    'vol',
    'volatility',
    'skewness',
    'kurtosis',
    'order_imbalance',
  ]);
  t.end();
});

void test('configured windows come behind them, each of the longest base that its name begins with', (t) => {
  const windows = [
    { name: 'vwap_1m', horizonMs: 60_000 },
    { name: 'vol_5m', horizonMs: 300_000 },
    { name: 'volatility_5m', horizonMs: 300_000 },
    { name: 'momentum_1h', horizonMs: 3_600_000 },
    { name: 'order_imbalance_1', horizonMs: 1 },
  ];
  const { specs } = featureSet({ ...DEFAULT_FEATURES, windows });
  t.same(
    specs.slice(14).map(({ name, kind, horizonMs }) => [name, kind, horizonMs]),
    [
      ['vwap_1m', 'vwap', 60_000],
      ['vol_5m', 'vol', 300_000],
      ['volatility_5m', 'volatility', 300_000],
      ['momentum_1h', 'ret', 3_600_000],
      ['order_imbalance_1', 'order_imbalance', 1],
    ],
  );
  t.end();
});

void test('the shape tells settings apart that give other values', (t) => {
  const shapes = [
    DEFAULT_FEATURES,
    { ...DEFAULT_FEATURES, gridMs: 500 },
    { ...DEFAULT_FEATURES, priceBin: 1 },
    { ...DEFAULT_FEATURES, windows: [{ name: 'vwap_1m', horizonMs: 60_000 }] },
    { ...DEFAULT_FEATURES, windows: [{ name: 'vwap_1m', horizonMs: 61_000 }] },
    { ...DEFAULT_FEATURES, windows: [{ name: 'vwap_2m', horizonMs: 60_000 }] },
  ].map((settings) => featureSet(settings).shape);
  t.equal(new Set(shapes).size, shapes.length);
  t.equal(featureSet().shape, featureSet(DEFAULT_FEATURES).shape);
  t.end();
});

void test('what cannot be computed is refused by name', (t) => {
  t.throws(named('spread_bps_1m'), {
    message: /^feature spread_bps_1m: the window of spread_bps is its own/,
  });
  t.throws(named('vwap_deviation_bps_1m'), { message: /the window of vwap_deviation_bps is its own/ });
  t.throws(named('rsi_1h'), RangeError);
  t.throws(named('price_1m'), { message: /^feature price_1m: it begins with none of vwap_, ret_/ });
  t.throws(named('vwapx'), { message: /begins with none of/ });
  for (const name of ['', 'Vwap_1m', 'vwap 1m', '1_vwap', 'vwap_1m;', `vwap_${'x'.repeat(60)}`])
    t.throws(named(name), { message: /a name is a-z, 0-9 and _/ });
  t.throws(named('vwap'), { message: 'there are two features vwap' });
  const twice = { name: 'vwap_1m', horizonMs: 60_000 };
  t.throws(() => featureSet({ ...DEFAULT_FEATURES, windows: [twice, twice] }), {
    message: 'there are two features vwap_1m',
  });
  t.end();
});

void test('windows are bounded, and those over closes are a multiple of the grid with enough cells', (t) => {
  for (const horizonMs of [0, -1, 0.5, NaN, Infinity, 3_600_001])
    t.throws(named('vwap_x', horizonMs), {
      message: /^feature vwap_x: a window of .* must be 1 ms to 3600 s$/,
    });
  t.doesNotThrow(named('vwap_x', 1));
  t.doesNotThrow(named('vwap_x', 3_600_000));
  for (const [name, cells] of [
    ['vol_x', 2],
    ['volatility_x', 2],
    ['skewness_x', 3],
    ['kurtosis_x', 4],
  ] as const) {
    t.doesNotThrow(named(name, cells * 1_000));
    t.throws(named(name, (cells - 1) * 1_000), { message: new RegExp(`at least ${cells} of its cells`) });
    t.throws(named(name, cells * 1_000 + 1), { message: /a multiple of the grid of 1000 ms/ });
  }
  // the default windows have to be multiples, too
  t.throws(named('vwap_x', 1, 7_000), {
    message: /^feature vol: a window of 300000 ms; .* the grid of 7000 ms/,
  });
  t.end();
});

void test('the grid and the width of price bins have bounds', (t) => {
  for (const gridMs of [0, 99, 60_001, 100.5, NaN])
    t.throws(() => featureSet({ ...DEFAULT_FEATURES, gridMs }), { message: /^a grid of .* 100 ms to 60 s$/ });
  t.doesNotThrow(() => featureSet({ ...DEFAULT_FEATURES, gridMs: 100 }));
  t.doesNotThrow(() => featureSet({ ...DEFAULT_FEATURES, gridMs: 60_000 }));
  for (const priceBin of [0, -1, NaN, Infinity])
    t.throws(() => featureSet({ ...DEFAULT_FEATURES, priceBin }), { message: /^a price bin of .* above 0$/ });
  t.end();
});
