/** Every variable of the daemon: the one place for its name, form, default and meaning. */
import { INT64_MAX } from '../../core/chain/tick.ts';
import { databaseTarget, grpcUrl, host } from './addresses.ts';
import { bigNumber, byteSize, duration, label, onOff, oneOf, path, port, wholeNumber } from './parsers.ts';
import { PLATFORM_VARIABLES } from './platform-variables.ts';
import { stageList } from './stages.ts';
import { optional, required, type Variable } from './variable.ts';

/** A dead letter is sent as hex in one statement: twice this must fit into a V8 string and a Postgres message. */
const MESSAGE_BYTES_MAX = '128MiB';
/** Beyond this setTimeout would overflow its int32 of milliseconds. */
const TIMER_MAX = '576h';
const AGE = duration('1h', '876000h', { days: true });

const variables = {
  grpcUrl: optional(
    'CONTINUUM_GRPC_URL',
    grpcUrl,
    'The sequencer. host:port is plaintext, https:// is TLS. Required when the stage ingest is on.',
  ),
  grpcTlsCaFile: optional(
    'CONTINUUM_TLS_CA',
    path,
    'PEM file of the authorities that may sign the sequencer (switches TLS on).',
  ),
  grpcTlsCertFile: optional('CONTINUUM_TLS_CERT', path, 'PEM file of our own certificate, for mutual TLS.'),
  grpcTlsKeyFile: optional('CONTINUUM_TLS_KEY', path, 'PEM file of the key of CONTINUUM_TLS_CERT.'),
  grpcTlsServerName: optional(
    'CONTINUUM_TLS_SERVER_NAME',
    host,
    'The name to expect in the certificate when it is not the address.',
  ),
  database: optional(
    'DATABASE_URL',
    databaseTarget,
    'The database, or embedded:DIR for an embedded Postgres with its data in DIR. What the URL leaves out is taken from PGHOST, PGUSER, PGPASSWORD, PGSSLMODE and the other variables of libpq. Required unless OUTPUT_MODE=console.',
    { secret: true },
  ),
  serviceName: required(
    'SERVICE_NAME',
    'tick-ingester',
    label,
    'A label in logs and in the sessions of the database.',
  ),
  environment: required(
    'ENV',
    'development',
    oneOf('development', 'staging', 'production'),
    'production writes logs as JSON, the others for people.',
  ),
  startTick: required(
    'START_TICK',
    '0',
    bigNumber(INT64_MAX),
    'The first tick of an empty database (0 = latest). Ignored once a position exists.',
  ),
  bufferTicks: required(
    'BUFFER_SIZE',
    '10000',
    wholeNumber(1, 10_000_000),
    'Most ticks held in memory between stream and database.',
  ),
  workerCount: required(
    'WORKER_COUNT',
    '8',
    wholeNumber(1, 256),
    'Upper bound for parsers and for writers; the daemon logs how many it runs and why.',
  ),
  batchTicks: required(
    'BATCH_SIZE',
    '250',
    wholeNumber(1, 100_000),
    'Ticks of one transaction while the writers keep up.',
  ),
  flushIntervalMs: required(
    'FLUSH_INTERVAL',
    '100ms',
    duration('1ms', '1h'),
    'A batch is written at the latest when its oldest tick is this old.',
  ),
  dbMaxConnections: required(
    'DB_MAX_CONNECTIONS',
    '100',
    wholeNumber(3, 10_000),
    'Most connections to the database.',
  ),
  dbMinConnections: required(
    'DB_MIN_CONNECTIONS',
    '10',
    wholeNumber(0, 10_000),
    'How many of them stay open while idle.',
  ),
  dbMaxConnLifetimeMs: required(
    'DB_MAX_CONN_LIFETIME',
    '30m',
    duration('1s', TIMER_MAX, { zero: 'no limit' }),
    'A connection is renewed after this time.',
  ),
  dbMaxConnIdleMs: required(
    'DB_MAX_CONN_IDLE_TIME',
    '5m',
    duration('1s', TIMER_MAX, { zero: 'no limit' }),
    'A connection beyond DB_MIN_CONNECTIONS is closed after this idle time.',
  ),
  outputMode: required(
    'OUTPUT_MODE',
    'timescale',
    oneOf('timescale', 'console'),
    'Where ticks go: the database, or stdout for debugging.',
  ),
  outputFormat: required(
    'OUTPUT_FORMAT',
    'json',
    oneOf('json', 'compact', 'table'),
    'How the console prints a tick.',
  ),
  healthCheckPort: required('HEALTH_CHECK_PORT', '8081', port, 'Port of /health, /ready and /metrics.'),
  stages: required('STAGES', 'ingest', stageList, 'Which stages this process runs.'),
  chainId: required(
    'CHAIN_ID',
    'continuum',
    label,
    'Name of the chain; one schema holds one chain and refuses another.',
  ),
  chainCheck: required(
    'CHAIN_CHECK',
    'link',
    oneOf('off', 'link', 'full'),
    'What is verified while ticks arrive: nothing, the link to the tick before, or all hashes and 1 % of the VDF outputs. What fails is recorded in chain_alarms and stored all the same. link costs nothing that can be measured, full 4 CPU seconds per million ticks and 2 more for each transaction in a tick.',
  ),
  batchMaxTicks: required(
    'BATCH_MAX',
    '4000',
    wholeNumber(1, 100_000),
    'Ticks of one transaction when the writers are behind.',
  ),
  bufferBytes: required(
    'BUFFER_BYTES',
    '256MiB',
    byteSize('1MiB', '4GiB'),
    'Most bytes held in memory between stream and database. Unset, and where a container or a unit is limited to less than 1280 MiB: a quarter of what is above 256 MiB.',
  ),
  tickMaxBytes: required(
    'TICK_MAX_BYTES',
    '4MiB',
    byteSize('1KiB', MESSAGE_BYTES_MAX),
    'A larger tick becomes a dead letter.',
  ),
  grpcMaxMessageBytes: required(
    'GRPC_MAX_MESSAGE_BYTES',
    '64MiB',
    byteSize('1KiB', MESSAGE_BYTES_MAX),
    'A larger message halts the stream visibly.',
  ),
  stallTimeoutMs: required(
    'STALL_TIMEOUT',
    '30s',
    duration('100ms', '24h'),
    'A stream that is open and silent for this long is examined and rebuilt.',
  ),
  reorderWindowTicks: required(
    'REORDER_WINDOW_TICKS',
    '256',
    wholeNumber(0, 100_000),
    'A missing tick is a gap once this many later ones have come (0 = at once).',
  ),
  reorderWindowMs: required(
    'REORDER_WINDOW',
    '200ms',
    duration('1ms', '1m', { zero: 'at once' }),
    'A missing tick is a gap at the latest after this time.',
  ),
  dbSynchronousCommit: required(
    'DB_SYNCHRONOUS_COMMIT',
    'on',
    onOff,
    'off: the batch transaction alone does not wait for the disk; a crash of the database may cost its last moments, which are read again.',
  ),
  deadLetterMax: required(
    'DEAD_LETTER_MAX',
    '1000',
    wholeNumber(0, 1_000_000_000),
    'More new dead letters than this in 10 minutes halt the ingestion (poison) until an operator decides: `tick-ingester resume`.',
  ),
  dbMigrate: optional(
    'DB_MIGRATE',
    oneOf('auto', 'off'),
    'auto applies the schema at start. Default: auto with embedded:, else off.',
  ),
  logLevel: required(
    'LOG_LEVEL',
    'info',
    oneOf('trace', 'debug', 'info', 'warn', 'error', 'fatal'),
    'Least level that is logged.',
  ),
  retentionChainMs: optional('RETENTION_CHAIN', AGE, 'Age at which chain ticks are dropped. Unset: never.'),
  retentionTickDataMs: optional(
    'RETENTION_TICK_DATA',
    AGE,
    'The same for tick_data, at least revise_horizon + 24h.',
  ),
  retentionMdTicksMs: optional(
    'RETENTION_MD_TICKS',
    AGE,
    'The same for md_ticks, and the ranges of their minutes.',
  ),
  retentionBarsMs: optional('RETENTION_BARS', AGE, 'The same for bars, at least revise_horizon + 48h.'),
  retentionSignalsMs: optional('RETENTION_SIGNALS', AGE, 'The same for signals.'),
  chainCompressAfterMs: optional(
    'CHAIN_COMPRESS_AFTER',
    AGE,
    'Age at which chunks of ticks, proofs and transactions are compressed, in whole days; TimescaleDB, community edition. Unset: never.',
  ),
  barsCompressAfterMs: optional(
    'BARS_COMPRESS_AFTER',
    AGE,
    'The same for chunks of bars, never before late events are over.',
  ),
  ...PLATFORM_VARIABLES,
};

type Table = typeof variables;

/** The value of every variable under its key. */
export type Values = { [K in keyof Table]: Table[K] extends Variable<infer T> ? T : never };

export type VariableKey = keyof Table;

export const VARIABLES: Readonly<Record<VariableKey, Variable<unknown>>> = variables;

export const VARIABLE_KEYS = Object.keys(variables) as VariableKey[];

/** The variable that names the file with the others. It is read from the real environment only. */
export const ENV_FILE = 'ENV_FILE';
