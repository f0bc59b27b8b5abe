/** The configuration of everything on the bus: configs/streaming.yaml. The one place for its keys and defaults. */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { symbolMistakes } from '../../../core/market/identity/providers.ts';
import { symbolProblem } from '../../../core/market/identity/symbol.ts';
import { ORDER_PROVIDER } from '../../../core/market/orders/order.ts';
import { hostPorts, redisUri } from '../addresses.ts';
import { readSetting, readVariable } from '../load.ts';
import { byteSize, duration, type Parser } from '../parsers.ts';
import { apiSection } from './api.ts';
import { contractList, withSymbols } from './contracts.ts';
import { featureProblem } from './feature-keys.ts';
import { adapterOfModel } from './model-adapter.ts';
import { replaySection } from './replay.ts';
import { defaultRulesFile } from './rules-file.ts';
import { readYaml, YamlError } from './yaml.ts';

/** A value with the syntax of environment variables: `2GiB`, `24h`, or a bare number where that has a meaning. */
function written<T>(parser: Parser<T>): z.ZodType<T> {
  return z
    .union([z.string(), z.number()])
    .transform((value, context) => {
      try {
        return parser.parse(String(value), '');
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        context.addIssue({ code: 'custom', message: `${error.message}; allowed: ${parser.allowed}` });
        return z.NEVER;
      }
    })
    .meta({ description: parser.allowed });
}

const name = z.string().regex(/^[!-{}~]{1,64}$/, 'must be 1-64 characters of 0x21-0x7E without |');
const topic = z
  .string()
  .regex(/^[A-Za-z0-9._-]{1,200}$/, 'must be letters, digits, dots, hyphens, underscores');
const symbol = z.string('must be text: put it in quotes').superRefine((text, context) => {
  const problem = symbolProblem(text);
  if (problem !== null) context.addIssue({ code: 'custom', message: problem });
});
const symbols = z.array(symbol).min(1).max(10_000);
const mint = z.string().regex(/^[!-{}~]{1,63}$/, 'must be 1-63 characters of 0x21-0x7E without |');

/** PEM files; without them: the system's CAs and no client certificate. */
const tls = z
  .strictObject({
    ca: z.string().min(1).optional(),
    cert: z.string().min(1).optional(),
    key: z.string().min(1).optional(),
    servername: z.string().min(1).optional(),
  })
  .refine(({ cert, key }) => (cert === undefined) === (key === undefined), 'needs cert and key together');

const bus = z.strictObject({
  type: z.enum(['redis', 'kafka', 'postgres']).default('redis'),
  encoding: z.enum(['json', 'msgpack']).default('json'),
  partitions: z.int().min(1).max(1024).default(1),
  max_bytes: written(byteSize('1MiB', '64GiB')).prefault('2GiB'),
  retention: written(duration('1m', '8760h', { days: true })).prefault('24h'),
  dlq_retention: written(duration('1m', '87600h', { days: true })).prefault('30d'),
  redis: z
    .strictObject({
      uri: written(redisUri).prefault('redis://redis:6379/0'),
      stream: topic.default('mdp.events'),
      signals_stream: topic.default('mdp.signals'),
      consumer_group: topic.default('mdp-consumers'),
      wait_aof: z.boolean().default(false),
      tls: tls.optional(),
    })
    .refine(
      ({ uri, tls }) => tls === undefined || /^rediss:/i.test(uri),
      'has tls, and a uri that is not rediss://',
    )
    .prefault({}),
  kafka: z
    .strictObject({
      brokers: written(hostPorts).prefault('localhost:9092'),
      sasl: z
        .strictObject({
          mechanism: z.enum(['PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512']).default('SCRAM-SHA-512'),
          username: z.string().min(1),
          password: z.string('must be text: put it in quotes').min(1),
        })
        .optional(),
      tls: tls.optional(),
    })
    .prefault({}),
});

const producers = z.strictObject({
  synthetic: z
    .strictObject({
      enabled: z.boolean().default(true),
      provider: name.default('synthetic'),
      symbols: symbols.default(['SPY', 'AAPL', 'MSFT']),
      tick_rate: z.number().positive().max(1_000_000).default(1),
      price_volatility: z.number().min(0).max(10).default(0.02),
      spread_bps: z.number().min(0).max(10_000).default(2),
      seed: z.int().min(0).max(4_294_967_295).default(1),
    })
    .prefault({}),
  ibkr: z
    .strictObject({
      enabled: z.boolean().default(false),
      host: z.string().min(1).default('127.0.0.1'),
      port: z.int().min(1).max(65_535).default(7497),
      client_id: z.int().min(0).max(2_147_483_647).default(1),
      provider_id: name.default('ibkr_primary'),
      symbols: symbols.optional(),
      contracts: contractList(symbol),
      stale_after: written(duration('15s', '24h')).prefault('5m'),
    })
    .transform(withSymbols)
    .prefault({}),
  continuum: z
    .strictObject({
      mints: z
        .record(
          z.string().regex(/^[1-9A-HJ-NP-Za-km-z]{32,44}$/, 'must be a Solana mint'),
          z.strictObject({ name: mint, decimals: z.int().min(0).max(18) }),
        )
        .default({
          So11111111111111111111111111111111111111112: { name: 'SOL', decimals: 9 },
          EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v: { name: 'USDC', decimals: 6 },
        }),
    })
    .prefault({}),
});

const provider = z.strictObject({
  identity: z.enum(['given', 'content']).default('given'),
  case: z.enum(['upper', 'refuse']).default('upper'),
  symbols: z
    .record(z.string(), z.string('must be text: put it in quotes'))
    .superRefine((symbols, context) => {
      for (const { symbol, problem } of symbolMistakes(symbols))
        context.addIssue({ code: 'custom', path: [symbol], message: `cannot be used: ${problem}` });
    })
    .default({}),
});

const modelAdapter = adapterOfModel(written(duration('10ms', '1m')), written(duration('100ms', '1h')));

/** The file's shape; docs/configuration.md is printed from it. */
export const streamingSchema = z.strictObject({
  version: z.literal(1, 'must be 1'),
  bus: bus.prefault({}),
  providers: z.record(name, provider).default({}),
  producers: producers.prefault({}),
  tick_consumer: z
    .strictObject({
      consumer_group: topic.default('tick-consumer'),
      batch_size: z.int().min(1).max(100_000).default(100),
      batch_max: z.int().min(1).max(100_000).default(5_000),
      takeover: written(duration('1s', '1h')).prefault('30s'),
    })
    .prefault({}),
  micro_batch: z
    .strictObject({
      window_ms: z
        .int()
        .min(500)
        .max(60_000)
        .refine((ms) => 60_000 % ms === 0, 'must divide a minute (60000)')
        .default(2_000),
      max_batch_size: z.int().min(1).max(1_000_000).default(5_000),
      allow_late_ms: z.int().min(0).max(86_400_000).default(500),
      flush_timeout_ms: z.int().min(1).max(3_600_000).default(1_000),
      late: z.enum(['revise', 'drop', 'dlq']).default('revise'),
      revise_horizon: written(duration('1m', '8760h')).prefault('24h'),
      idle_timeout: written(duration('100ms', '24h')).prefault('5s'),
    })
    .prefault({}),
  features: z
    .strictObject({
      grid: written(duration('100ms', '1m')).prefault('1s'),
      price_bin: z.number().positive().optional(),
      prime: written(duration('0s', '8760h', { days: true })).prefault('24h'),
      windows: z
        .array(z.strictObject({ name: z.string().min(1), horizon: written(duration('1s', '1h')) }))
        .default([
          { name: 'vwap_1m', horizon: 60_000 },
          { name: 'ret_30s', horizon: 30_000 },
          { name: 'vol_5m', horizon: 300_000 },
        ]),
    })
    .superRefine((features, context) => {
      const problem = featureProblem(features);
      if (problem !== null) context.addIssue({ code: 'custom', path: ['windows'], message: problem });
    })
    .prefault({}),
  signal_consumer: z
    .strictObject({
      consumer_group: topic.default('signal-consumer'),
      batch_size: z.int().min(1).max(100_000).default(200),
      flush_interval: written(duration('1ms', '1h')).prefault('5s'),
    })
    .prefault({}),
  inference: z
    .strictObject({
      consumer_group: topic.default('mdp-inference'),
      adapters: z
        .strictObject({
          rules: z
            .strictObject({
              enabled: z.boolean().default(true),
              file: z
                .string()
                .min(1)
                .optional()
                .transform((file) => file ?? defaultRulesFile()),
            })
            .prefault({}),
          sklearn: modelAdapter.prefault({}),
          onnx: modelAdapter.prefault({}),
        })
        .refine(
          ({ sklearn, onnx }) => !sklearn.enabled || !onnx.enabled,
          'has sklearn and onnx enabled: one model judges',
        )
        .prefault({}),
    })
    .prefault({}),
  api: apiSection.prefault({}),
  webhook: z
    .strictObject({
      consumer_group: topic.default('tick-flusher'),
      flush_interval: written(duration('100ms', '1m')).prefault('1s'),
      batch_size: z.int().min(1).max(100_000).default(200),
      batch_max: z.int().min(1).max(100_000).default(5_000),
      takeover: written(duration('1s', '1h')).prefault('30s'),
      forward: z.boolean().default(false),
    })
    .prefault({}),
  replay: replaySection(symbol).prefault({}),
  telemetry: z
    .strictObject({
      metrics_port: z.int().min(0).max(65_535).default(9101),
      log_level: z
        .string()
        .transform((text) => text.toLowerCase())
        .pipe(z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal']))
        .prefault('INFO'),
    })
    .prefault({}),
});

/** Every key with its value: durations in ms, sizes in bytes. */
export type StreamingConfig = z.output<typeof streamingSchema>;

/** The providers of our own producers. */
export function knownProviders({ producers }: StreamingConfig): string[] {
  return [producers.synthetic.provider, producers.ibkr.provider_id, ORDER_PROVIDER];
}

/** The file of the package, for programs that run outside its folder. Found from src/ and from dist/ alike. */
const PACKAGED = fileURLToPath(new URL('../../../../configs/streaming.yaml', import.meta.url));

/**
 * The file named here, or else that of STREAMING_CONFIG, or else the packaged one; variables come from the environment and
 * its file.
 *
 * @throws YamlError, ConfigError
 */
export function readStreamingConfig(path?: string): StreamingConfig {
  const file = path ?? streamingConfigPath();
  const config = loadStreamingConfig(file, readVariable);
  // the packaged file names the one beside it, which the working directory may lack
  if (file === PACKAGED) config.inference.adapters.rules.file = defaultRulesFile();
  return config;
}

export function streamingConfigPath(): string {
  const named = readVariable('STREAMING_CONFIG');
  const path = readSetting('streamingConfigFile');
  return named === null && !existsSync(path) ? PACKAGED : path;
}

/**
 * @param path as given, for messages
 * @param lookup what `${NAME}` stands for; null: unset
 * @throws YamlError with every mistake and its line
 */
export function loadStreamingConfig(
  path: string,
  lookup: (name: string) => string | null,
  readFile: (path: string) => string = (name) => readFileSync(name, 'utf8'),
): StreamingConfig {
  let text: string;
  try {
    text = readFile(path);
  } catch (error) {
    const code = (error as { code?: string }).code ?? (error as Error).message;
    throw new YamlError(path, [{ line: 1, path: '', problem: `cannot be read (${code})` }]);
  }
  return readYaml(path, text, streamingSchema, lookup);
}
