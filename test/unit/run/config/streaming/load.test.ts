import { readFileSync } from 'node:fs';
import { test } from 'tap';
import { loadStreamingConfig, type StreamingConfig } from '../../../../../src/run/config/streaming/load.ts';
import { YamlError, type YamlProblem } from '../../../../../src/run/config/streaming/yaml.ts';

/** Seed 001 §4.2, as it stands there. */
const SEED = `version: 1
bus:
  type: "redis"
  redis:
    uri: \${REDIS_URI:-redis://redis:6379/0}
    stream: "mdp.events"
    signals_stream: "mdp.signals"
    consumer_group: "mdp-consumers"

producers:
  synthetic:
    enabled: true
    symbols: ["SPY", "AAPL", "MSFT"]
    tick_rate: 1.0
    price_volatility: 0.02

micro_batch:
  window_ms: 2000
  max_batch_size: 5000
  allow_late_ms: 500
  flush_timeout_ms: 1000

features:
  windows:
    - { name: "vwap_1m",  horizon: "60s" }
    - { name: "ret_30s",  horizon: "30s" }
    - { name: "vol_5m",   horizon: "300s" }

inference:
  adapters:
    rules:
      enabled: true
      file: "configs/rules.yaml"
    sklearn:
      enabled: false
      model_path: ""

telemetry:
  metrics_port: 9101
  log_level: INFO
`;
const SHIPPED = readFileSync(new URL('../../../../../configs/streaming.yaml', import.meta.url), 'utf8');

function load(text: string, variables: Readonly<Record<string, string>> = {}): StreamingConfig {
  return loadStreamingConfig(
    'file.yaml',
    (name) => variables[name] ?? null,
    () => text,
  );
}

function mistakes(text: string, variables: Readonly<Record<string, string>> = {}): readonly YamlProblem[] {
  try {
    load(text, variables);
  } catch (error) {
    if (error instanceof YamlError) return error.problems;
    throw error;
  }
  throw new Error('no mistake was found');
}

const places = (problems: readonly YamlProblem[]): [number, string][] =>
  problems.map(({ line, path }) => [line, path]);

void test('the file of the seed has the values that it shows', (t) => {
  const { bus, producers, micro_batch, features, inference, telemetry } = load(SEED);
  t.equal(bus.type, 'redis');
  t.strictSame(bus.redis, {
    uri: 'redis://redis:6379/0',
    stream: 'mdp.events',
    signals_stream: 'mdp.signals',
    consumer_group: 'mdp-consumers',
    wait_aof: false,
  });
  t.match(producers.synthetic, {
    enabled: true,
    symbols: ['SPY', 'AAPL', 'MSFT'],
    tick_rate: 1,
    price_volatility: 0.02,
  });
  t.strictSame(micro_batch, {
    window_ms: 2000,
    max_batch_size: 5000,
    allow_late_ms: 500,
    flush_timeout_ms: 1000,
    late: 'revise',
    revise_horizon: 86_400_000,
    idle_timeout: 5_000,
  });
  t.strictSame(features.windows, [
    { name: 'vwap_1m', horizon: 60_000 },
    { name: 'ret_30s', horizon: 30_000 },
    { name: 'vol_5m', horizon: 300_000 },
  ]);
  const model = { enabled: false, model_path: '', timeout: 1_000, workers: 1, reset_after: 10_000 };
  t.strictSame(inference.adapters, {
    rules: { enabled: true, file: 'configs/rules.yaml' },
    sklearn: model,
    onnx: model,
  });
  t.strictSame(telemetry, { metrics_port: 9101, log_level: 'info' });
  t.end();
});

void test('what the seed leaves out has its default, and the shipped file is the same', (t) => {
  const seed = load(SEED);
  t.equal(seed.bus.encoding, 'json');
  t.equal(seed.bus.partitions, 1);
  t.equal(seed.bus.max_bytes, 2 ** 31);
  t.equal(seed.bus.retention, 24 * 3_600_000);
  t.strictSame(seed.tick_consumer, {
    consumer_group: 'tick-consumer',
    batch_size: 100,
    batch_max: 5000,
    takeover: 30_000,
  });
  t.strictSame(load(SHIPPED), seed);
  t.strictSame(load('version: 1'), seed, 'nothing but the version');
  t.end();
});

/** Without comments and blank lines. */
const bare = (text: string): string[] =>
  text
    .split('\n')
    .map((line) => line.replace(/\s+#.*$/, '').trimEnd())
    .filter((line) => line !== '' && !/^\s*#/.test(line));

void test('every line of the seed stands in the shipped file', (t) => {
  t.strictSame(bare(SHIPPED), bare(SEED));
  t.end();
});

void test('what the shipped file says behind # is accepted, and is the default', (t) => {
  const opened = SHIPPED.replace(
    /^# (tick_consumer:|signal_consumer:|webhook:|providers:|api:|replay:|(?:  ){1,2}\w+:)/gm,
    '$1',
  ).replace(/^( +)# ( *[\w]+:.*)$/gm, '$1$2');
  t.match(opened, /^ {6}password:/m);
  const { bus, providers, ...rest } = load(opened, { KAFKA_PASSWORD: 's3cret', REDIS_URI: 'rediss://h' });
  const { bus: initial, providers: none, ...others } = load(SEED);
  const { features, inference, ...remaining } = rest;
  const { features: initialFeatures, inference: initialInference, ...otherwise } = others;
  t.strictSame(remaining, otherwise);
  t.strictSame(
    features,
    { ...initialFeatures, price_bin: 0.01 },
    'price_bin is an example: the default is none',
  );
  const { label, threshold, ...sklearn } = inference.adapters.sklearn;
  t.strictSame([label, threshold], ['ret_30s@+60s', 0.0005], 'examples: by default nothing is compared');
  const adapters = { ...inference.adapters, sklearn };
  t.strictSame({ ...inference, adapters }, initialInference);
  t.strictSame(none, {});
  t.strictSame(providers, {
    hyperliquid: {
      identity: 'content',
      case: 'refuse',
      symbols: { kPEPE: '1000PEPE', kBONK: '1000BONK' },
    },
  });
  const { sasl, tls, ...brokers } = bus.kafka;
  const { tls: redisTls, uri: _uri, ...redis } = bus.redis;
  const { uri: _initialUri, ...initialRedis } = initial.redis;
  t.strictSame({ ...bus, kafka: brokers, redis }, { ...initial, redis: initialRedis });
  t.strictSame(sasl, { mechanism: 'SCRAM-SHA-512', username: 'mdp', password: 's3cret' });
  for (const files of [tls, redisTls])
    t.match(files, { ca: /pem$/, cert: /pem$/, key: /key$/, servername: /example/ });
  t.end();
});

void test('what is declared of providers', (t) => {
  const { providers } = load(
    'version: 1\nproviders:\n  a: {}\n  b: { identity: content, symbols: { 1000: "1000" } }\n',
  );
  t.strictSame(providers, {
    a: { identity: 'given', case: 'upper', symbols: {} },
    b: { identity: 'content', case: 'upper', symbols: { 1000: '1000' } },
  });
  const wrong = `version: 1
providers:
  "a b": {}
  c: { identity: hash, cases: upper }
  d:
    symbols:
      A: B
      B: A
      C: c
      E: 7
  e:
    symbols: { X: "A|B" }
`;
  t.match(mistakes(wrong), [
    { line: 3, path: 'providers.a b' },
    { line: 4, path: 'providers.c.identity' },
    { line: 4, path: 'providers.c.cases' },
    { line: 10, path: 'providers.d.symbols.E', problem: 'must be text: put it in quotes' },
    { line: 12, path: 'providers.e.symbols.X', problem: /^cannot be used: symbol "A\|B" has U\+007c/ },
  ]);
  t.match(mistakes(wrong.replace(': 7', ': E')), [
    { line: 3 },
    { line: 4 },
    { line: 4 },
    { line: 7, path: 'providers.d.symbols.A', problem: 'cannot be used: A is mapped to B, and that to A' },
    { line: 8, path: 'providers.d.symbols.B', problem: 'cannot be used: B is mapped to A, and that to B' },
    { line: 9, path: 'providers.d.symbols.C', problem: /which is not in upper case/ },
    { line: 12 },
  ]);
  t.match(load('version: 1\nproducers: { synthetic: { symbols: ["SPX   141122P00019500", "币安"] } }\n'), {
    producers: { synthetic: { symbols: ['SPX   141122P00019500', '币安'] } },
  });
  t.end();
});

const kafka = (text: string): string => `version: 1\nbus:\n  kafka:\n    ${text}\n`;

void test('access to a bus', (t) => {
  t.match(mistakes(kafka('sasl: { username: u, password: 12 }')), [
    { line: 4, path: 'bus.kafka.sasl.password', problem: /quotes/ },
  ]);
  t.match(mistakes(kafka('sasl: { username: u }')), [{ line: 4, path: 'bus.kafka.sasl.password' }]);
  t.match(mistakes(kafka('sasl: { mechanism: GSSAPI, username: u, password: "12" }')), [
    { path: 'bus.kafka.sasl.mechanism' },
  ]);
  t.match(mistakes(kafka('tls: { cert: a }')), [{ path: 'bus.kafka.tls', problem: /cert and key/ }]);
  t.strictSame(load(kafka('tls: {}')).bus.kafka.tls, {});
  t.match(mistakes('version: 1\nbus:\n  redis:\n    uri: redis://h\n    tls: {}\n'), [
    { line: 3, path: 'bus.redis', problem: /not rediss/ },
  ]);
  t.end();
});

void test('variables', (t) => {
  const uri = (text: string, variables: Record<string, string> = {}): string =>
    load(`version: 1\nbus: { redis: { uri: "${text}" } }`, variables).bus.redis.uri;
  t.equal(load(SEED, { REDIS_URI: 'redis://other:1/2' }).bus.redis.uri, 'redis://other:1/2');
  t.equal(uri('redis://${H:-h}:${P:-1}/0', { P: '7' }), 'redis://h:7/0', 'several in one text');
  const port = (text: string, variables: Record<string, string> = {}): number =>
    load(`version: 1\ntelemetry:\n  metrics_port: ${text}\n`, variables).telemetry.metrics_port;
  t.equal(port('${P:-9102}'), 9102, 'an unquoted one is a number');
  t.equal(port('${P:-9102}', { P: '0' }), 0);
  t.match(mistakes('version: 1\ntelemetry:\n  metrics_port: "${P:-9102}"'), [
    { line: 3, path: 'telemetry.metrics_port' },
  ]);
  t.equal(
    load('version: 1\nproducers:\n  synthetic:\n    enabled: ${ON:-false}\n').producers.synthetic.enabled,
    false,
  );
  t.end();
});

void test('a variable that is unset and has no default is named with its line', (t) => {
  const text = 'version: 1\nbus:\n  redis:\n    uri: ${A}\n  kafka:\n    brokers: ${B}:${C:-1}\n';
  t.match(mistakes(text), [
    { line: 4, problem: /\$\{A\} is not set/ },
    { line: 6, problem: /\$\{B\} is not set/ },
  ]);
  t.end();
});

void test('a variable cannot bring structure into the file', (t) => {
  const value = '{ type: kafka }';
  t.match(mistakes('version: 1\nbus:\n  type: ${T}', { T: value }), [{ line: 3, path: 'bus.type' }]);
  t.match(mistakes('version: 1\nbus:\n  type: ${T}', { T: 'redis\n  partitions: 4' }), [
    { line: 3, path: 'bus.type' },
  ]);
  t.end();
});

void test('all mistakes at once, each with its line', (t) => {
  const text = `version: 2
bus:
  type: rabbit
  partitons: 4
  max_bytes: 7 apples
  redis:
    uri: http://x
    streem: a
producers:
  synthetic:
    symbols: ["SPY", "A|B"]
    tick_rate: 0
features:
  windows:
    - { name: a, horizon: soon }
    - { name: b, horizon: 60s, extra: 1 }
telemetry:
  metrics_port: 70000
  log_level: LOUD
nonsense: 1
`;
  t.strictSame(places(mistakes(text)), [
    [1, 'version'],
    [3, 'bus.type'],
    [4, 'bus.partitons'],
    [5, 'bus.max_bytes'],
    [7, 'bus.redis.uri'],
    [8, 'bus.redis.streem'],
    [11, 'producers.synthetic.symbols.1'],
    [12, 'producers.synthetic.tick_rate'],
    [15, 'features.windows.0.horizon'],
    [16, 'features.windows.1.extra'],
    [18, 'telemetry.metrics_port'],
    [19, 'telemetry.log_level'],
    [20, 'nonsense'],
  ]);
  t.end();
});

void test('the message names the file and the line of each', (t) => {
  t.throws(() => load('version: 1\nbus:\n  typ: redis\n'), {
    name: 'YamlError',
    message: 'A mistake in file.yaml:\n  file.yaml:3: bus.typ is not a key of this file',
  });
  t.throws(() => load('version: 1\nbuss: 1\nbus:\n  typ: redis\n'), {
    message:
      '2 mistakes in file.yaml:\n  file.yaml:2: buss is not a key of this file\n  file.yaml:4: bus.typ is not a key of this file',
  });
  t.end();
});

void test('text that is no YAML, no map, or twice the same key', (t) => {
  t.equal(mistakes('version: 1\nbus: [1\ntelemetry: 2\n')[0]?.line !== undefined, true);
  t.match(mistakes('version: 1\nbus:\n  type: redis\n  type: kafka\n'), [{ line: 4, problem: /unique/ }]);
  t.strictSame(places(mistakes('- version: 1\n')), [[1, '']]);
  t.strictSame(places(mistakes('')), [[1, 'version']], 'an empty file');
  t.match(mistakes('version: 1\nbus:\n  <<: 5\n'), [{ line: 3 }]);
  t.end();
});

void test('a file that cannot be read', (t) => {
  t.throws(() => loadStreamingConfig('/nowhere/x.yaml', () => null), {
    name: 'YamlError',
    message: /\/nowhere\/x\.yaml:1: cannot be read \(ENOENT\)/,
  });
  t.end();
});
