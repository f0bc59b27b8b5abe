import { globSync, readFileSync } from 'node:fs';
import { test } from 'tap';
import {
  type Config,
  ConfigError,
  type ConfigSources,
  loadConfig,
  readVariable,
} from '../../../../src/run/config/load.ts';

const MINIMUM = { CONTINUUM_GRPC_URL: 'localhost:50051', DATABASE_URL: 'postgres://u:p@localhost/db' };

type Env = Record<string, string | undefined>;

function sources(env: Env, files: Record<string, string | Error> = {}, memoryBytes = 2 ** 40): ConfigSources {
  return {
    env,
    cwd: '/srv/app',
    readFile(path) {
      const file = files[path] ?? Object.assign(new Error(`no such file ${path}`), { code: 'ENOENT' });
      if (file instanceof Error) throw file;
      return file;
    },
    memoryBytes,
  };
}

function load(env: Env, files: Record<string, string | Error> = {}): Config {
  return loadConfig(sources({ ...MINIMUM, ...env }, files));
}

const endpoint = (env: Env) => load(env).grpc;
const plain = (address: string) => ({ address, tls: null });

function failure(env: Env, files: Record<string, string | Error> = {}): ConfigError {
  try {
    loadConfig(sources(env, files));
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
  throw new Error('expected a ConfigError');
}

void test('the defaults are those of the specification', async (t) => {
  const { warnings, ...config } = load({});
  t.strictSame(warnings, []);
  t.strictSame(config, {
    grpc: { address: 'localhost:50051', tls: null },
    database: { kind: 'server', url: 'postgres://u:p@localhost/db' },
    serviceName: 'tick-ingester',
    environment: 'development',
    startTick: 0n,
    bufferTicks: 10_000,
    workerCount: 8,
    batchTicks: 250,
    flushIntervalMs: 100,
    dbMaxConnections: 100,
    dbMinConnections: 10,
    dbMaxConnLifetimeMs: 30 * 60_000,
    dbMaxConnIdleMs: 5 * 60_000,
    outputMode: 'timescale',
    outputFormat: 'json',
    healthCheckPort: 8081,
    stages: ['ingest'],
    chainId: 'continuum',
    chainCheck: 'link',
    batchMaxTicks: 4000,
    bufferBytes: 256 * 2 ** 20,
    tickMaxBytes: 4 * 2 ** 20,
    grpcMaxMessageBytes: 64 * 2 ** 20,
    stallTimeoutMs: 30_000,
    reorderWindowTicks: 256,
    reorderWindowMs: 200,
    dbSynchronousCommit: true,
    deadLetterMax: 1000,
    dbMigrate: 'off',
    logLevel: 'info',
    retentionChainMs: null,
    retentionTickDataMs: null,
    retentionMdTicksMs: null,
    retentionBarsMs: null,
    chainCompressAfterMs: null,
    barsCompressAfterMs: null,
    retentionSignalsMs: null,
    streamingConfigFile: '/srv/app/configs/streaming.yaml',
    readDatabaseUrl: null,
    apiPort: 8083,
    apiHost: '127.0.0.1',
    apiToken: null,
    allowedHosts: null,
    webhookHmacKeys: null,
    webhookHmacKeysFile: null,
    metricsPort: null, // 9101 is that of telemetry.metrics_port
    redisUri: null,
    kafkaBrokers: null,
    exportDir: null,
    envFile: null,
    notify: { socket: null, watchdogMs: null },
    noColor: false,
  });
});

void test('all mistakes come in one message that names each variable and what is allowed', async (t) => {
  const error = failure({
    BATCH_SIZE: 'many',
    FLUSH_INTERVAL: '100',
    ENV: 'prod',
    HEALTH_CHECK_PORT: '70000',
    BUFFER_BYTES: '12 potatoes',
    START_TICK: '-1',
    STAGES: 'ingest,bars,nonsense',
  });
  t.strictSame(
    error.problems.map(({ variable }) => variable).sort(),
    [
      'BATCH_SIZE',
      'BUFFER_BYTES',
      'CONTINUUM_GRPC_URL',
      'DATABASE_URL',
      'ENV',
      'FLUSH_INTERVAL',
      'HEALTH_CHECK_PORT',
      'STAGES',
      'START_TICK',
    ].filter((name) => name !== 'CONTINUUM_GRPC_URL'), // whether it is needed depends on STAGES, which is not known
  );
  t.match(error.message, /^8 mistakes in the configuration:\n/);
  for (const line of [
    'BATCH_SIZE = "many" is not a whole number; allowed: a whole number from 1 to 100000',
    'FLUSH_INTERVAL = "100" is a number without a unit',
    'ENV = "prod" is not one of the allowed words; allowed: development | staging | production',
    'DATABASE_URL is missing; OUTPUT_MODE=timescale needs it; allowed: postgres://',
    'STAGES = "ingest,bars,nonsense" names an unknown stage: nonsense; allowed: all, or a list of: ingest',
  ]) {
    t.ok(error.message.includes(`\n  ${line}`), line);
  }
});

void test('addresses are required only where they are used', async (t) => {
  t.match(failure({}).message, /CONTINUUM_GRPC_URL is missing; the stage ingest needs it/);
  t.match(failure({}).message, /DATABASE_URL is missing/);
  t.equal(loadConfig(sources({ CONTINUUM_GRPC_URL: 'localhost:1', OUTPUT_MODE: 'console' })).database, null);
});

void test('stages are named alone or all at once', async (t) => {
  t.match(failure({ ...MINIMUM, STAGES: 'all,ingest' }).message, /all and single stages together/);
  t.match(failure({ ...MINIMUM, STAGES: ',' }).message, /names no stage/);
  t.strictSame(load({ STAGES: 'all' }).stages, ['ingest', 'orders', 'ticks', 'bars', 'signals', 'api']);
  t.strictSame(load({ STAGES: ' Ingest , ingest' }).stages, ['ingest']);
});

void test('secrets never appear in a message', async (t) => {
  const secret = 'hunter2hunter2';
  for (const env of [
    { DATABASE_URL: `mysql://u:${secret}@h/db` },
    { DATABASE_URL: `postgres://u:${secret}@x@h/db` },
    { DATABASE_URL: `postgres://u:1/${secret}@h/db` },
    { DATABASE_URL: `postgres://u:x#${secret}@h:port/db` },
    { DATABASE_URL: `postgres://u:${secret}@h/db?sslmode=maybe` },
    { DATABASE_URL: `postgres://u:${secret}%zz@h/db` },
    { DATABASE_URL: `postgres://u:${secret}@h:port/db` },
    { READ_DATABASE_URL: `host=h password=${secret}` },
    { REDIS_URI: `http://:${secret}@h` },
    { API_TOKEN: `${secret} ${secret}` },
    { API_TOKEN: `${secret},${secret},${secret}` },
    { WEBHOOK_HMAC_KEYS: `id:${secret}` },
    { WEBHOOK_HMAC_KEYS: secret },
    { CONTINUUM_GRPC_URL: `https://u:${secret}@h:1` },
    { CONTINUUM_GRPC_URL: `u:${secret}@h:1` },
    { BATCH_SIZE: `postgres://u:${secret}@h/db` },
  ]) {
    const { message } = failure({ ...MINIMUM, ...env });
    t.ok(message.includes(Object.keys(env)[0]), 'the variable is named');
    t.notOk(message.includes(secret), message);
  }
});

void test('the sequencer may be plaintext or TLS', async (t) => {
  const tls = { caFile: null, certFile: null, keyFile: null, serverName: null };
  t.strictSame(endpoint({ CONTINUUM_GRPC_URL: '[::1]:50051' }), plain('[::1]:50051'));
  t.strictSame(endpoint({ CONTINUUM_GRPC_URL: 'http://127.0.0.1:50051/' }), plain('127.0.0.1:50051'));
  t.strictSame(endpoint({ CONTINUUM_GRPC_URL: 'http://localhost' }), plain('localhost:80'));
  t.strictSame(endpoint({ CONTINUUM_GRPC_URL: 'https://seq.example' }), { address: 'seq.example:443', tls });
  t.strictSame(
    endpoint({ CONTINUUM_GRPC_URL: 'seq.example:50051', CONTINUUM_TLS_SERVER_NAME: 'other.example' }),
    {
      address: 'seq.example:50051',
      tls: { ...tls, serverName: 'other.example' },
    },
  );
  const refused: [string, RegExp][] = [
    ['localhost', /has no port/],
    ['localhost:0', /port outside/],
    ['localhost:99999', /port outside/],
    ['::1:50051', /write IPv6 as/],
    ['300.1.1.1:1', /no valid host/],
    ['[seq]:1', /is not host:port/],
    ['a b:1', /is not host:port/],
    ['ftp://h:1', /another scheme or a path/],
    ['https://h:1/path', /another scheme or a path/],
  ];
  for (const [address, reason] of refused) {
    t.match(failure({ ...MINIMUM, CONTINUUM_GRPC_URL: address }).message, reason, address);
  }
});

void test('plaintext beyond loopback is said loudly', async (t) => {
  t.match(load({ CONTINUUM_GRPC_URL: 'seq.example:50051' }).warnings, [
    /plaintext.*https:\/\/ or CONTINUUM_TLS_CA/,
  ]);
  for (const address of [
    'localhost:1',
    '127.8.0.1:1',
    '[::1]:1',
    'http://seq.localhost:1',
    'https://seq.example',
  ]) {
    t.strictSame(load({ CONTINUUM_GRPC_URL: address }).warnings, [], address);
  }
});

void test('TLS files are read at start, and a contradiction is a mistake', async (t) => {
  const pem = '-----BEGIN CERTIFICATE-----\n';
  const files = {
    '/srv/app/ca.pem': pem,
    '/etc/cert.pem': pem,
    '/etc/key.pem': '-----BEGIN PRIVATE KEY-----\n',
    '/etc/der': 'x',
  };
  const config = load(
    { CONTINUUM_TLS_CA: 'ca.pem', CONTINUUM_TLS_CERT: '/etc/cert.pem', CONTINUUM_TLS_KEY: '/etc/key.pem' },
    files,
  );
  t.strictSame(config.grpc?.tls, {
    caFile: '/srv/app/ca.pem',
    certFile: '/etc/cert.pem',
    keyFile: '/etc/key.pem',
    serverName: null,
  });
  const error = failure({ ...MINIMUM, CONTINUUM_TLS_CA: '/absent', CONTINUUM_TLS_CERT: '/etc/der' }, files);
  t.match(error.message, /CONTINUUM_TLS_CA \/absent cannot be read \(ENOENT\)/);
  t.match(error.message, /CONTINUUM_TLS_CERT \/etc\/der holds nothing in PEM form/);
  t.match(error.message, /CONTINUUM_TLS_KEY is missing; certificate and key go together/);
  t.match(
    failure({ ...MINIMUM, CONTINUUM_GRPC_URL: 'http://h:1', CONTINUUM_TLS_CA: 'ca.pem' }, files).message,
    /says plaintext \(http:\/\/\) although CONTINUUM_TLS_\* is set/,
  );
});

void test('the database may be a server or embedded', async (t) => {
  const embedded = load({ DATABASE_URL: 'embedded:data/pg' });
  t.strictSame(embedded.database, { kind: 'embedded', dataDir: '/srv/app/data/pg' });
  t.equal(embedded.dbMigrate, 'auto');
  t.equal(load({ DATABASE_URL: 'embedded:/var/pg', DB_MIGRATE: 'off' }).dbMigrate, 'off');
  t.equal(load({ DB_MIGRATE: 'auto' }).dbMigrate, 'auto');
  for (const url of [
    'postgresql://u@h:5432/db?sslmode=verify-full&sslrootcert=/etc/ca.pem',
    'postgres://u:p%40ss@md_postgres:5432/market_data',
    'postgres:///db?host=/var/run/postgresql',
    'postgres://u:p@/db?host=/var/run/postgresql',
    'postgres://u:a#b?c:d&e=f@h/db',
    'postgres://u:p@h/db#x',
  ]) {
    t.strictSame(load({ DATABASE_URL: url }).database, { kind: 'server', url }, url);
  }
  const refused: [string, RegExp][] = [
    ['embedded:', /names no folder/],
    ['host=h dbname=d', /does not begin with postgres/],
    ['postgres://a,b/db?port=1,2,3', /3 ports for 2 hosts/],
    ['postgres://u:p@h/db?sslmode=yes', /unknown sslmode/],
    ['postgres://u:p@h:x/db', /no valid URL/],
    ['postgres://u:100%@h/db', /begins no escape/],
    ['postgres://u:p@ss@h/db', /%40 and %2F/],
  ];
  for (const [url, reason] of refused)
    t.match(failure({ ...MINIMUM, DATABASE_URL: url }).message, reason, url);
});

void test("libpq's variables count where the URL says nothing, wherever they are set", async (t) => {
  const file = 'PGUSER=from-file\nPGPORT=6543\nPGSSLMODE=require\n';
  const config = load(
    { DATABASE_URL: 'postgres://h/db', READ_DATABASE_URL: 'postgres://r:1/db', PGUSER: 'me' },
    { '/srv/app/.env.ingester': file },
  );
  t.strictSame(config.database, { kind: 'server', url: 'postgres://h/db?port=6543&user=me&sslmode=require' });
  t.equal(config.readDatabaseUrl, 'postgres://r:1/db?user=me&sslmode=require');
  t.notMatch(config.warnings, /PG/);
  t.match(
    failure({ ...MINIMUM, DATABASE_URL: 'postgres://h/db', PGSSLMODE: 'yes' }).message,
    /DATABASE_URL \(value not shown\) has an unknown sslmode .*with PGSSLMODE of the environment/,
  );
  t.strictSame(load({ DATABASE_URL: 'embedded:/pg', PGSSLMODE: 'require' }).database, {
    kind: 'embedded',
    dataDir: '/pg',
  });
});

void test('the environment wins over the file, an empty value counts as none', async (t) => {
  const file = 'BATCH_SIZE=300\nBUFFER_SIZE=7000\nSERVICE_NAME=from-file\nWORKER_COUNT=\n';
  const config = load(
    { BATCH_SIZE: '400', BUFFER_SIZE: '', WORKER_COUNT: '  ' },
    { '/srv/app/.env.ingester': file },
  );
  t.equal(config.batchTicks, 400);
  t.equal(config.bufferTicks, 7000);
  t.equal(config.serviceName, 'from-file');
  t.equal(config.workerCount, 8);
  t.equal(config.envFile, '/srv/app/.env.ingester');
});

void test('ENV_FILE names another file, which then has to exist', async (t) => {
  const files = { '/srv/app/.env.ingester': 'BATCH_SIZE=1', '/etc/ingester.env': 'BATCH_SIZE=2' };
  t.equal(load({ ENV_FILE: '/etc/ingester.env' }, files).batchTicks, 2);
  t.match(
    failure({ ...MINIMUM, ENV_FILE: 'none.env' }).message,
    /ENV_FILE names \/srv\/app\/none.env, which cannot be read \(ENOENT\)/,
  );
});

void test('a default file that this user may not read is a warning: a unit has passed its values on', async (t) => {
  const denied = Object.assign(new Error('denied'), { code: 'EACCES' });
  t.match(load({}, { '/srv/app/.env.ingester': denied }).warnings, [/cannot be read \(EACCES\)/]);
  t.match(failure({ ...MINIMUM, ENV_FILE: 'x' }, { '/srv/app/x': denied }).message, /EACCES/);
});

void test('mistakes in the file carry its name and line', async (t) => {
  const { message } = failure(MINIMUM, {
    '/srv/app/.env.ingester': '# ours\nBATCH_SIZE=x\nnot a setting\n1A=2\n',
  });
  t.match(message, /BATCH_SIZE = "x" \(\.env\.ingester line 2\) is not a whole number/);
  t.match(message, /\.env\.ingester line 3 is not KEY=VALUE/);
  t.match(message, /\.env\.ingester line 4 has no usable name/);
});

void test('one pair of quotes is removed, also from the real environment', async (t) => {
  const config = load(
    {
      DATABASE_URL: '"postgres://u:p@h/db?sslmode=disable&options=-csearch_path%3Dx"',
      SERVICE_NAME: "'quoted'",
    },
    { '/srv/app/.env.ingester': 'BATCH_SIZE="300"' },
  );
  t.strictSame(config.database, {
    kind: 'server',
    url: 'postgres://u:p@h/db?sslmode=disable&options=-csearch_path%3Dx',
  });
  t.equal(config.serviceName, 'quoted');
  t.equal(config.batchTicks, 300);
});

void test('every tuning profile of the seed runs as it is printed, comments and all', async (t) => {
  const profiles = [
    `WORKER_COUNT=16              # More workers (if CPU available)
BATCH_SIZE=500               # Larger batches
BUFFER_SIZE=20000            # Larger buffer
DB_MAX_CONNECTIONS=200       # More DB connections
FLUSH_INTERVAL=200ms         # Longer flush interval`,
    `WORKER_COUNT=8               # Standard workers
BATCH_SIZE=100               # Smaller batches
FLUSH_INTERVAL=50ms          # Faster flush`,
    `WORKER_COUNT=4               # Fewer workers
BATCH_SIZE=100               # Smaller batches
BUFFER_SIZE=5000             # Smaller buffer
DB_MAX_CONNECTIONS=50        # Fewer DB connections`,
    'BUFFER_SIZE=5000\nBATCH_SIZE=100',
  ];
  for (const profile of profiles) {
    const fromFile = load({}, { '/srv/app/.env.ingester': profile });
    // systemd and docker hand the comment over with the value
    const asEnvironment = Object.fromEntries(
      profile.split('\n').map((line) => line.split(/=(.*)/s).slice(0, 2)),
    );
    const fromEnvironment = load(asEnvironment);
    t.strictSame({ ...fromFile, envFile: null }, fromEnvironment);
    t.strictSame(fromFile.warnings, []);
    t.equal(fromFile.batchTicks, Number(/BATCH_SIZE=(\d+)/.exec(profile)?.[1]));
  }
});

void test('variables that depend on each other', async (t) => {
  const raised = load({ BATCH_SIZE: '5000' });
  t.equal(raised.batchMaxTicks, 5000, 'a default gives way');
  t.strictSame(raised.warnings, []);
  const warned = load({ BATCH_SIZE: '500', BATCH_MAX: '400' });
  t.equal(warned.batchMaxTicks, 500);
  t.match(warned.warnings, [/BATCH_MAX: raised to BATCH_SIZE \(500\)/]);
  t.match(load({ BATCH_MAX: '9000', BUFFER_SIZE: '8000' }), {
    batchMaxTicks: 8000,
    warnings: [/lowered to BUFFER_SIZE/],
  });
  t.match(load({ BUFFER_SIZE: '100' }), { batchTicks: 100, batchMaxTicks: 100, warnings: [] });
  t.match(
    failure({ ...MINIMUM, BUFFER_SIZE: '100', BATCH_SIZE: '250' }).message,
    /BUFFER_SIZE is below BATCH_SIZE \(250\)/,
  );

  t.match(
    failure({ ...MINIMUM, BUFFER_BYTES: '15MiB' }).message,
    /BUFFER_BYTES is below 4 × TICK_MAX_BYTES = 16777216 bytes/,
  );
  t.match(failure({ ...MINIMUM, TICK_MAX_BYTES: '65MiB' }).message, /BUFFER_BYTES is below/);
  const within = (memoryBytes: number, env: Env = {}): Config =>
    loadConfig(sources({ ...MINIMUM, ...env }, {}, memoryBytes));
  t.match(within(512 * 2 ** 20), {
    bufferBytes: 64 * 2 ** 20,
    warnings: ['BUFFER_BYTES: 64MiB of the 512MiB that this process may use'],
  });
  t.match(within(128 * 2 ** 20), { bufferBytes: 16 * 2 ** 20 }, 'four ticks fit');
  t.match(within(1280 * 2 ** 20), { bufferBytes: 256 * 2 ** 20, warnings: [] });
  t.match(within(512 * 2 ** 20, { BUFFER_BYTES: '128MiB' }), {
    bufferBytes: 128 * 2 ** 20,
    warnings: [/BUFFER_BYTES: more than 64MiB of the 512MiB/],
  });
  t.equal(load({ BUFFER_BYTES: '16MiB' }).bufferBytes, 16_777_216);
  t.match(
    failure({ ...MINIMUM, GRPC_MAX_MESSAGE_BYTES: '2MiB' }).message,
    /GRPC_MAX_MESSAGE_BYTES is below TICK_MAX_BYTES \(4194304 bytes\)/,
  );
  t.equal(load({ TICK_MAX_BYTES: '100MiB', BUFFER_BYTES: '1GiB' }).grpcMaxMessageBytes, 100 * 2 ** 20);

  t.equal(load({ DB_MAX_CONNECTIONS: '5' }).dbMinConnections, 5);
  t.equal(load({ DB_MIN_CONNECTIONS: '200' }).dbMaxConnections, 200);
  t.match(
    failure({ ...MINIMUM, DB_MAX_CONNECTIONS: '5', DB_MIN_CONNECTIONS: '6' }).message,
    /DB_MIN_CONNECTIONS is above DB_MAX_CONNECTIONS \(5\)/,
  );
});

void test('names that look like ours and are not are reported with the nearest', async (t) => {
  const config = load(
    {
      BATCHSIZE: '1',
      FLUSH_INTERVALL: '1s',
      CONTINUUM_URL: 'x',
      DB_POOL: '3',
      HOME: '/root',
      PATH: '/bin',
      TERM: 'x',
      ENVIRON: 'x',
    },
    { '/srv/app/.env.ingester': 'NODE_OPTIONS=--x\nENV_FILE=y\n' },
  );
  t.strictSame(config.warnings.toSorted(), [
    'BATCHSIZE is no variable of this program and has no effect; did you mean BATCH_SIZE?',
    'CONTINUUM_URL is no variable of this program and has no effect; did you mean CONTINUUM_GRPC_URL?',
    'DB_POOL is no variable of this program and has no effect',
    'ENV_FILE has no effect inside .env.ingester; it is read from the environment',
    'FLUSH_INTERVALL is no variable of this program and has no effect; did you mean FLUSH_INTERVAL?',
    'NODE_OPTIONS has no effect inside .env.ingester; it is read from the environment',
  ]);
});

void test('what grpc-js reads from the environment is not called unknown', async (t) => {
  const names = new Set<string>();
  for (const file of globSync('node_modules/@grpc/grpc-js/build/src/*.js')) {
    for (const [, name] of readFileSync(file, 'utf8').matchAll(/process\.env\.(\w+)/g)) names.add(name);
  }
  t.ok(names.has('GRPC_DEFAULT_SSL_ROOTS_FILE_PATH') && names.size > 10, [...names].join(' '));
  const env = Object.fromEntries([...names].map((name) => [name, 'x']));
  t.strictSame(load(env).warnings, []);
  const file = { '/srv/app/.env.ingester': 'GRPC_TRACE=all\nGRPC_TRACES=all\n' };
  t.strictSame(load({}, file).warnings, [
    'GRPC_TRACE has no effect inside .env.ingester; it is read from the environment',
    'GRPC_TRACES in .env.ingester is no variable of this program and has no effect',
  ]);
  t.strictSame(
    load({ GRPC_TRACE: 'all', GRPC_TRACES: 'all' }, file).warnings.length,
    1,
    'as systemd passes it on',
  );
});

void test('an ordinary environment causes no warning', async (t) => {
  const ordinary = {
    HOME: '/root', LANG: 'C.UTF-8', LOGNAME: 'x', SHELL: '/bin/sh', USER: 'x', PWD: '/', OLDPWD: '/', SHLVL: '1', _: '/bin/env',
    HOSTNAME: 'h', TZ: 'UTC', EDITOR: 'vi', NODE_OPTIONS: '', NODE_ENV: 'production', INVOCATION_ID: 'x', JOURNAL_STREAM: '8:1',
    WATCHDOG_PID: '1', MAINPID: '1', REDIS_SERVICE_HOST: '10.0.0.1', REDIS_PORT: 'tcp://10.0.0.1:6379', API_SERVICE_PORT: '80',
    API_PORT_80_TCP_ADDR: '10.0.0.2', TICK_INGESTER_SERVICE_HOST: '10.0.0.3', TICK_INGESTER_PORT_8081_TCP: 'tcp://x',
    POSTGRES_PASSWORD: 'x', PGHOST: 'x', KAFKA_HEAP_OPTS: '-Xmx1g', CI: 'true', DEBUG: '', COLORTERM: '1',
  }; // prettier-ignore
  t.strictSame(load(ordinary).warnings, []);
});

void test("systemd's notify protocol is handed on", async (t) => {
  const { notify } = load({ NOTIFY_SOCKET: '/run/systemd/notify', WATCHDOG_USEC: '60000000' });
  t.strictSame(notify, { socket: '/run/systemd/notify', watchdogMs: 60_000 });
  t.strictSame(load({ NOTIFY_SOCKET: '', WATCHDOG_USEC: 'x' }).notify, { socket: null, watchdogMs: null });
});

void test('a single variable is read by the same rules', async (t) => {
  const files = { '/srv/app/.env.ingester': 'DATABASE_URL="postgres://file/db"\n' };
  t.equal(readVariable('DATABASE_URL', sources({}, files)), 'postgres://file/db');
  t.equal(
    readVariable('DATABASE_URL', sources({ DATABASE_URL: "'postgres://env/db'" }, files)),
    'postgres://env/db',
  );
  t.equal(readVariable('DATABASE_URL', sources({ DATABASE_URL: '' })), null);
  t.throws(() => readVariable('DATABASE_URL', sources({ ENV_FILE: 'none' })), { name: 'ConfigError' });
});
