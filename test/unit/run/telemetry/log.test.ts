import { readFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { test } from 'tap';
import { loadConfig } from '../../../../src/run/config/load.ts';
import { configMarkdown, configSecrets, describeConfig } from '../../../../src/run/config/describe.ts';
import { VARIABLE_KEYS, VARIABLES } from '../../../../src/run/config/variables.ts';
import { createLog, errorText, type LogOptions, logOptions } from '../../../../src/run/telemetry/log.ts';
import { createRedactor } from '../../../../src/run/config/redact.ts';
import { systemClock } from '../../../../src/core/time.ts';

const clock = { nowMicros: () => 1_755_945_303_176_042n, monotonicMs: () => 0 };

function capture(options: Partial<LogOptions> = {}) {
  const lines: string[] = [];
  const log = createLog({
    service: 'tick-ingester',
    level: 'info',
    format: 'json',
    color: false,
    clock,
    redact: createRedactor(),
    destination: { write: (line) => void lines.push(line) },
    ...options,
  });
  return { log, lines, json: () => lines.map((line): unknown => JSON.parse(line)) };
}

void test('a JSON line has a level in words, an ISO timestamp and numbers as numbers', async (t) => {
  const { log, json } = capture();
  log.info({ tick_count: 250, first_tick: 12_345n, last_tick: 12_594n }, 'Wrote batch to TimescaleDB');
  t.strictSame(json(), [
    {
      level: 'info',
      timestamp: '2025-08-23T10:35:03.176042Z',
      service: 'tick-ingester',
      tick_count: 250,
      first_tick: 12_345,
      last_tick: 12_594,
      msg: 'Wrote batch to TimescaleDB',
    },
  ]);
});

void test('lines below the level are left out', async (t) => {
  const { log, lines } = capture({ level: 'warn' });
  log.info('no');
  log.warn('yes');
  t.equal(lines.length, 1);
});

void test('an error is its message and code; its stack shows at debug alone', async (t) => {
  const error = Object.assign(new Error('refused', { cause: new Error('the reason') }), {
    code: 'ECONNREFUSED',
    secretStuff: 1,
  });
  const info = capture();
  info.log.error({ err: error }, 'Failed to connect to database');
  t.match(info.json()[0], { level: 'error', msg: 'Failed to connect to database' });
  const expected = { type: 'Error', message: 'refused', code: 'ECONNREFUSED', cause: 'the reason' };
  t.strictSame((info.json()[0] as { err: unknown }).err, expected);
  const debug = capture({ level: 'debug' });
  debug.log.error(error);
  t.match(debug.json()[0], { msg: 'refused', err: { ...expected, stack: /Error: refused\n/ } });
});

void test('an error of several addresses says why each one failed', async (t) => {
  const error = new AggregateError([
    new Error('connect ECONNREFUSED ::1:5432'),
    new Error('connect ECONNREFUSED 127.0.0.1:5432'),
  ]);
  Object.assign(error, { code: 'ECONNREFUSED' });
  t.equal(
    errorText(error, createRedactor()),
    'connect ECONNREFUSED ::1:5432; connect ECONNREFUSED 127.0.0.1:5432',
  );
  t.equal(errorText(Object.assign(new Error('no'), { code: '28P01' }), createRedactor()), 'no (28P01)');
  t.equal(errorText('postgres://u:secret@h', createRedactor()), 'postgres://u:***@h');
});

const CANARY = 'canary-7f3a9c';

void test('no secret reaches a line, whatever carries it', async (t) => {
  const config = loadConfig({
    env: {
      CONTINUUM_GRPC_URL: 'localhost:1',
      DATABASE_URL: `postgres://fermi:${CANARY}@db/x`,
      READ_DATABASE_URL: `postgres://fermi:${CANARY}2@db/x`,
      REDIS_URI: `redis://:${CANARY}3@h`,
      API_TOKEN: `${CANARY}4`,
    },
    cwd: '/nowhere',
  });
  for (const format of ['json', 'pretty'] as const) {
    const { log, lines } = capture({ level: 'trace', format, redact: createRedactor(configSecrets(config)) });
    log.info({ config: describeConfig(config) }, 'starting');
    log.info(`message with postgres://fermi:${CANARY}@db/x and ${CANARY}4`);
    log.error({
      err: new Error(`inner ${CANARY}2`),
      deep: { list: [`redis://:${CANARY}3@h`] },
      password: CANARY,
    });
    log.child({ url: `postgres://a:${CANARY}@h` }).warn('child');
    log.info('with an argument: %s', `${CANARY}4`);
    t.equal(lines.length, 5);
    t.notMatch(lines.join(''), CANARY, format);
    t.match(lines.join(''), /fermi:\*\*\*@db/, 'what is no secret stays');
  }
});

void test('the configuration is described without what is unset, in values that JSON has', async (t) => {
  const config = loadConfig({
    env: {
      CONTINUUM_GRPC_URL: 'localhost:1',
      DATABASE_URL: 'embedded:/data',
      START_TICK: '9223372036854775807',
    },
    cwd: '/nowhere',
  });
  const described = describeConfig(config);
  t.match(described, {
    database: 'embedded:/data',
    startTick: '9223372036854775807',
    batchTicks: 250,
    stages: ['ingest'],
  });
  t.notOk('redisUri' in described || 'warnings' in described || 'apiToken' in described);
  t.doesNotThrow(() => JSON.stringify(described));
});

void test('people get one line per record, and foreign text cannot forge another', async (t) => {
  const { log, lines } = capture({ format: 'pretty' });
  log.warn({ tick: 5n }, 'quoted "text" \u001b[31mred\n[2025-01-01] INFO: forged');
  t.equal(lines.length, 1);
  t.match(
    lines[0],
    /^\[2025-08-23 10:35:03\.176\] WARN: quoted "text" .*\\n\[2025-01-01\] INFO: forged \{"tick":5\}\n$/,
  );
  t.notMatch(lines[0], '\u001b', 'no control character');
  const colored = capture({ format: 'pretty', color: true });
  colored.log.warn('x');
  t.match(colored.lines[0], '\u001b[');
});

const here = (path: string) => JSON.stringify(new URL(`../../../../src/${path}`, import.meta.url).href);

function options(env: Record<string, string>): LogOptions {
  const complete = { CONTINUUM_GRPC_URL: 'localhost:1', DATABASE_URL: 'embedded:/d', ...env };
  return logOptions(loadConfig({ env: complete, cwd: '/nowhere' }), systemClock);
}

void test('stdout has the log, or stderr where stdout carries ticks; production means JSON', async (t) => {
  t.match(options({ ENV: 'production', LOG_LEVEL: 'debug' }), {
    format: 'json',
    level: 'debug',
    destination: { fd: 1 },
  });
  t.match(options({ ENV: 'staging', OUTPUT_MODE: 'console' }), { format: 'pretty', destination: { fd: 2 } });
  t.equal(options({ NO_COLOR: '1' }).color, false);
});

void test('the last line before an exit is written', async (t) => {
  const code = `const { createLog, logOptions } = await import(${here('run/telemetry/log.ts')});
    const { loadConfig } = await import(${here('run/config/load.ts')});
    const { systemClock } = await import(${here('core/time.ts')});
    createLog(logOptions(loadConfig(), systemClock)).info('goodbye');
    process.exit(3);`;
  for (const [mode, stream] of [
    ['timescale', 'stdout'],
    ['console', 'stderr'],
  ] as const) {
    const ended = spawnSync(process.execPath, ['--input-type=module', '-e', code], {
      encoding: 'utf8',
      cwd: '/',
      env: {
        ENV: 'production',
        CONTINUUM_GRPC_URL: 'localhost:1',
        DATABASE_URL: 'embedded:/d',
        OUTPUT_MODE: mode,
      },
    });
    t.equal(ended.status, 3);
    t.match(JSON.parse(ended[stream]), { msg: 'goodbye', level: 'info' });
    t.equal(ended[stream === 'stdout' ? 'stderr' : 'stdout'], '');
  }
});

void test('docs/configuration.md has a row for every variable', async (t) => {
  const table = configMarkdown();
  const page = readFileSync(new URL('../../../../docs/configuration.md', import.meta.url), 'utf8');
  t.ok(page.includes(table), 'it holds the table as the program knows it');
  for (const key of VARIABLE_KEYS) {
    const { name, doc, parser } = VARIABLES[key];
    t.ok(table.includes(`| \`${name}\` |`), name);
    t.ok(doc.endsWith('.') && parser.allowed !== '', `${name} is documented`);
  }
  for (const row of table.trimEnd().split('\n')) t.equal(row.replaceAll('\\|', '').split('|').length, 5, row);
});
