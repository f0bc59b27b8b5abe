/** The table of docs/configuration.md: every key of streaming.yaml with its default, what is allowed, and its meaning. */
import { z } from 'zod';
import { streamingSchema } from './load.ts';

/** By path; an entry for a parent key covers all keys below it. */
const MEANINGS: Readonly<Record<string, string>> = {
  version: 'Of this file.',
  'bus.type': 'Which bus; postgres is the tables of DATABASE_URL and needs no further server.',
  'bus.encoding': 'What our producers write; both are read.',
  'bus.partitions':
    'Of `mdp.events`: symbols are spread over them by murmur2; 1 is the stream itself, n are `mdp.events:0` … on Redis. With several, `mdp.events` is an inbox (Redis, Postgres): what foreign programs write there is moved to them.',
  'bus.max_bytes': 'What the bus may hold; producers wait above 80 % of it, nothing is evicted.',
  'bus.retention':
    'How long topics without consumer groups keep records, from when they were first seen by a process that still runs; whatever their own times say.',
  'bus.dlq_retention':
    'How long dead letters are kept, through restarts. They have a tenth of `bus.max_bytes`: beyond it the oldest go earlier.',
  'bus.redis.uri': 'The server.',
  'bus.redis.stream': 'Topic of market events, on every bus.',
  'bus.redis.signals_stream': 'Topic of signals.',
  'bus.redis.consumer_group': 'Group of the micro-batcher.',
  'bus.redis.wait_aof': 'Redis 7.2+: each publish waits until it is on disk, also with appendfsync everysec.',
  'bus.redis.tls':
    '`ca`, `cert`, `key` (files in PEM) and `servername`, each may be left out; needs rediss://.',
  'bus.kafka.brokers': 'Where the cluster is found.',
  'bus.kafka.sasl':
    '`mechanism` (PLAIN, SCRAM-SHA-256 or, by default, SCRAM-SHA-512), `username` and `password`.',
  'bus.kafka.tls': 'As `bus.redis.tls`; unset is plain text, `tls: {}` trusts what the system does.',
  providers:
    'By provider: `identity` (given, or content for a feed without seq and trade_id), `case` (upper, or refuse for one whose symbols differ in case alone) and `symbols` (its names, and those they are stored under). [events.md](events.md#what-a-feed-needs-to-lose-nothing) says what for.',
  'producers.synthetic.enabled': 'Checked; `mdp stream produce` says which producer runs.',
  'producers.synthetic.provider': 'Provider of the events.',
  'producers.synthetic.symbols': 'Symbols that have a random walk each.',
  'producers.synthetic.tick_rate': 'Ticks a second and symbol.',
  'producers.synthetic.price_volatility': 'Of the price, a day.',
  'producers.synthetic.spread_bps': 'Between bid and ask, in hundredths of a percent.',
  'producers.synthetic.seed': 'The same seed gives the same events.',
  'producers.ibkr.enabled': 'Checked; `mdp stream produce` says which producer runs.',
  'producers.ibkr.host': 'Of TWS or IB Gateway.',
  'producers.ibkr.port': 'Of TWS or IB Gateway.',
  'producers.ibkr.client_id': 'Number of our session there.',
  'producers.ibkr.provider_id': 'Provider of the events.',
  'producers.ibkr.symbols':
    'US stocks, found through SMART, whose trades are published. Default: `SPY`, or none where there are `contracts`.',
  'producers.ibkr.contracts':
    'Any other instruments: `symbol`, `secType`, `exchange`, `currency`, `conId`, `expiry`, `strike`, `right`, `multiplier`, `primaryExchange`, `localSymbol`, `tradingClass` as in the TWS API, and `name`, the symbol of the events. [events.md](events.md#interactive-brokers) has an example of each kind.',
  'producers.ibkr.stale_after':
    'A subscription that delivers nothing for so long while its exchange is open is asked for again.',
  'producers.continuum.mints': '`name` and `decimals` of each mint, for the orders of the chain.',
  'tick_consumer.consumer_group': 'Its group.',
  'tick_consumer.batch_size': 'Ticks of one transaction while it keeps up.',
  'tick_consumer.batch_max': 'The same when it is behind.',
  'tick_consumer.takeover': 'What a silent member had in hand goes to another one after this.',
  'micro_batch.window_ms': 'Length of the windows, ms; a divisor of a minute.',
  'micro_batch.max_batch_size': 'Most events that one transaction covers.',
  'micro_batch.allow_late_ms': 'A window closes when an event of its symbol is this far past its end, ms.',
  'micro_batch.flush_timeout_ms': 'How long a closed window may wait until it is written, ms.',
  'micro_batch.late':
    'A tick behind its closed window: revise (the bar is recomputed from `tick_data`, which needs the tick consumer), drop (counted) or dlq (a dead letter with reason `late`).',
  'micro_batch.revise_horizon':
    'How old a window may be that is still revised, by the times of its symbol; then dlq, `too_late`.',
  'micro_batch.idle_timeout': 'A symbol without an event for this long has its open windows closed.',
  'features.grid':
    'Length of a cell of closes, of which vol, volatility, rsi, skewness, kurtosis and bollinger are made.',
  'features.price_bin':
    "Width of the price bins of vp_distance_bps, in units of the price. Default: about a ten-thousandth of the day's first price.",
  'features.prime': 'How far back tick_data is read for a symbol whose features nobody has computed yet.',
  'features.windows':
    '`name` and `horizon` of each, beside the features that are always there: a name is vwap, ret, momentum, vol, volatility, skewness, kurtosis or order_imbalance with `_` and anything behind it.',
  'signal_consumer.consumer_group': 'Group of the signal consumer.',
  'signal_consumer.batch_size': 'Signals of one transaction while it keeps up; behind, as many as there are.',
  'signal_consumer.flush_interval': 'How long a signal may wait for its transaction.',
  'inference.consumer_group': 'Group of the inference: rules and models.',
  'inference.adapters.rules.enabled':
    'Whether rules are evaluated at the end of each window; where a model is enabled, while it gives no predictions.',
  'inference.adapters.rules.file':
    'The rules, a path below the working directory or an absolute one; read again when it changes. Default: `configs/rules.yaml`, or that of the package where there is none. [rules.md](rules.md) says what is in it.',
  'inference.adapters.sklearn.enabled': 'As `inference.adapters.onnx.enabled`.',
  'inference.adapters.sklearn.model_path':
    'The NAME.onnx that `mdp models convert` made of a scikit-learn model, with NAME.json beside it. A .pkl is a mistake.',
  'inference.adapters.sklearn.timeout':
    'Of a call of up to 500 rows: a process that takes longer is ended and replaced, and the rules take over.',
  'inference.adapters.sklearn.workers': 'Processes that predict, at most one for each core.',
  'inference.adapters.sklearn.reset_after':
    'When half of the calls failed, the model is left alone for so long, and the rules take over.',
  'inference.adapters.sklearn.label':
    'What the model predicts, as a column of `mdp export features`: ret_30s@+60s. With it predictions are compared with what followed, as a metric.',
  'inference.adapters.sklearn.threshold':
    'Of a model of classes: what followed is of the higher class above it, as for `mdp models score`.',
  'inference.adapters.onnx.enabled':
    '`mdp config check` loads the model; `mdp stream infer` says which adapter runs.',
  'inference.adapters.onnx.model_path': 'NAME.onnx, with NAME.json beside it; read again when they change.',
  'inference.adapters.onnx.timeout':
    'Of a call of up to 500 rows: a process that takes longer is ended and replaced, and the rules take over.',
  'inference.adapters.onnx.workers': 'Processes that predict, at most one for each core.',
  'inference.adapters.onnx.reset_after':
    'When half of the calls failed, the model is left alone for so long, and the rules take over.',
  'inference.adapters.onnx.label':
    'What the model predicts, as a column of `mdp export features`: ret_30s@+60s. With it predictions are compared with what followed, as a metric.',
  'inference.adapters.onnx.threshold':
    'Of a model of classes: what followed is of the higher class above it, as for `mdp models score`.',
  'api.rate_limit':
    'Requests a second of one token, or of one address where no token is shown (an IPv6 network of 64 bits is one); beyond it 429. 0: no limit.',
  'api.auth_failures':
    'Wrong credentials a minute of one address; beyond it all its credentials are answered 429 until the minute is over. 0: no limit.',
  'api.connections_max': 'Connections at once; further ones are closed.',
  'api.trusted_proxies':
    'Addresses and networks of proxies whose X-Forwarded-For says where a request comes from.',
  'webhook.consumer_group': 'The group of the flusher, which stores what `POST /ingest/tick` took.',
  'webhook.flush_interval': 'How long an accepted tick waits for others before it is stored.',
  'webhook.batch_size': 'So many ticks are stored without waiting.',
  'webhook.batch_max': 'Ticks of one transaction when the flusher is behind.',
  'webhook.takeover': 'What a silent flusher had in hand goes to another one after this.',
  'webhook.forward':
    'Whether stored ticks also become events of `mdp.events` (provider = source), and so rows of `tick_data`, bars and signals.',
  'replay.runs_max': 'Replays that run at once in one process; further ones wait.',
  'replay.datasets':
    'By name: `providers`, `symbols`, `sources` (tick_data, md_ticks, bars) and, with bars, their `interval`. `mdp stream replay --dataset` takes the name. [replay.md](replay.md) says more. Default: `spy_1day_history`, SPY of `ibkr_primary` and `synthetic`.',
  'telemetry.metrics_port': 'Port of /metrics of the stages on the bus; METRICS_PORT wins.',
  'telemetry.log_level': 'Least level that is logged: trace, debug, info, warn, error or fatal.',
};

/** The part of JSON Schema used here. */
interface Shape {
  properties?: Record<string, Shape>;
  default?: unknown;
  const?: unknown;
  enum?: readonly unknown[];
  type?: string | readonly string[];
  description?: string;
  minimum?: number;
  exclusiveMinimum?: number;
  maximum?: number;
}

/** The table, a row per key. @throws Error for a key without a meaning here, or a meaning without a key */
export function streamingMarkdown(): string {
  const root = z.toJSONSchema(streamingSchema, { io: 'input', unrepresentable: 'any' }) as Shape;
  const left = new Set(Object.keys(MEANINGS));
  const rows: string[] = [];
  const visit = (path: string, shape: Shape): void => {
    const meaning = MEANINGS[path];
    if (meaning === undefined && shape.properties !== undefined) {
      for (const [name, inner] of Object.entries(shape.properties))
        visit(path === '' ? name : `${path}.${name}`, inner);
      return;
    }
    if (meaning === undefined) throw new Error(`${path} has no meaning in meanings.ts`);
    left.delete(path);
    rows.push(`| \`${path}\` | ${defaultText(shape)} | ${cell(meaning)}${cell(allowedText(shape))} |`);
  };
  visit('', root);
  if (left.size > 0) throw new Error(`${[...left].join(', ')}: no such key in load.ts`);
  return ['| Key | Default | Meaning |', '|---|---|---|', ...rows, ''].join('\n');
}

function defaultText({ const: only, default: initial, properties }: Shape): string {
  if (only !== undefined) return `${JSON.stringify(only)}, required`;
  if (initial === undefined || properties !== undefined) return '–';
  if (typeof initial === 'object' && initial !== null && !Array.isArray(initial)) {
    const values = Object.values(initial);
    return values.length === 0 ? '–' : values.map((value) => `\`${JSON.stringify(value)}\``).join(', ');
  }
  if (Array.isArray(initial)) return initial.map((value) => `\`${textOf(value)}\``).join(', ');
  return initial === '' ? '–' : `\`${textOf(initial)}\``;
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** A sentence, or nothing where any text is allowed. */
function allowedText(shape: Shape): string {
  const { enum: words, description, minimum, exclusiveMinimum, maximum, type } = shape;
  if (words !== undefined) return ` Allowed: ${words.join(' | ')}.`;
  if (description !== undefined) return ` Allowed: ${description}.`;
  if (type === 'boolean') return ' Allowed: true | false.';
  if (maximum === undefined) return '';
  const kind = type === 'integer' ? 'a whole number' : 'a number';
  return exclusiveMinimum === undefined
    ? ` Allowed: ${kind} from ${minimum} to ${maximum}.`
    : ` Allowed: ${kind} above ${exclusiveMinimum}, up to ${maximum}.`;
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|');
}
