import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test, type Test } from 'tap';
import { systemClock } from '../../../../../src/core/time.ts';
import { registerBars } from '../../../../../src/run/cli/bars/rebuild.ts';
import { lockRun } from '../../../../../src/store/bars/rebuild.ts';
import { BarHarness } from '../../../../support/bars/harness.ts';
import { oracleBars, type OracleTick } from '../../../../support/bars/oracle.ts';
import { assertRecomputed } from '../../../../support/bars/recomputed.ts';
import {
  barsIn,
  MINUTE_US,
  oracleRollups,
  rollupsIn,
  storeTicks,
  tick,
  traces,
} from '../../../../support/bars/stored.ts';
import { seededRandom } from '../../../../support/random.ts';
import { runInProcess } from '../../../../support/run/command-in-process.ts';
import { runCommand } from '../../../../support/run/command.ts';
import { Program } from '../../../../support/run/program.ts';
import { sharedPostgres, type SharedPostgres } from '../../../../support/servers/postgres.ts';
import { until } from '../../../../support/until.ts';

const NEVER_MS = 600_000;
const DAY_S = 86_400;

let postgres: SharedPostgres | null = null;
after(() => postgres?.stop());

async function harnessOf(t: Test): Promise<{ harness: BarHarness; config: string }> {
  postgres ??= await sharedPostgres();
  const harness = await BarHarness.open(t, await postgres.createDatabase(undefined, { schema: false }));
  const folder = await mkdtemp(join(tmpdir(), 'tick-rebuild-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const config = join(folder, 'streaming.yaml');
  await writeFile(config, 'version: 1\nbus:\n  type: postgres\n');
  return { harness, config };
}

interface Report {
  run_id: number;
  resumed: boolean;
  symbols: string[];
  ticks: number;
  windows: number;
  made: number;
  revised: number;
  kept: number;
  open_from: Record<string, string>;
}

async function rebuild(t: Test, url: string, ...args: string[]): Promise<Report> {
  const { code, out, err } = await runInProcess(
    (program) => registerBars(program, { databaseUrl: url, clock: systemClock }),
    'bars',
    'rebuild',
    '--json',
    '--provider',
    'p',
    ...args,
  );
  t.strictSame([code, err], [0, ''], err);
  return JSON.parse(out) as Report;
}

/** Awkward prices and sizes, `count` ticks from `fromS` seconds after MINUTE_US on, over `lengthS` seconds. */
function walk(symbol: string, fromS: number, lengthS: number, count: number): OracleTick[] {
  const random = seededRandom();
  return Array.from({ length: count }, (_, at) =>
    tick(
      symbol,
      fromS + (at * lengthS) / count,
      30 + random.next(),
      random.percent(5) ? null : random.next(),
      at % 3,
    ),
  );
}

const iso = (seconds: number): string => new Date(MINUTE_US / 1000 + seconds * 1000).toISOString();
const RANGE = ['--from', iso(-4 * DAY_S), '--to', iso(2 * DAY_S)];

void test('history that came too late gets its bars while the micro-batcher runs on', async (t) => {
  const { harness, config } = await harnessOf(t);
  await harness.consumer();
  await harness.batcher({ idleTimeoutMs: NEVER_MS, reviseHorizonMs: 60_000 });
  const newer = walk('SPY', 0, 40, 200);
  await harness.publish([...newer, tick('SPY', 60, 9)]);
  await harness.untilBars('SPY', newer);
  // two days, and hours of the day whose rollups are open
  const older = [
    ...walk('SPY', -3 * DAY_S, 2_000, 500),
    ...walk('SPY', -2 * DAY_S, 100, 100),
    ...walk('SPY', -7_200, 900, 300),
  ];
  await harness.publish(older);
  await until('all are put aside and stored', async () => {
    const { n } = await harness.one<{ n: number }>('SELECT count(*)::int AS n FROM tick_data');
    const letters = await harness.deadLetters();
    return (
      n === newer.length + older.length + 1 &&
      letters.filter(({ reason }) => reason === 'too_late').length === older.length
    );
  });
  t.strictSame(await barsIn(harness.client, { symbol: 'SPY', interval: '2s' }), oracleBars(newer, 2_000));

  const report = await rebuild(t, harness.url, ...RANGE, '--symbols', 'spy', '--config', config);
  const all = [...older, ...newer];
  t.match(report, { resumed: false, symbols: ['SPY'], ticks: all.length, kept: 0 });
  t.strictSame(report.open_from, { SPY: iso(58).replace('.000Z', '.000000Z') });
  t.strictSame(await barsIn(harness.client, { symbol: 'SPY', interval: '2s' }), oracleBars(all, 2_000));
  t.strictSame(await rollupsIn(harness.client, 'SPY'), oracleRollups(all));
  t.strictSame(
    await harness.one(
      'SELECT job_name, provider, symbols, status, rows_written::int AS rows FROM job_runs WHERE id = $1',
      [report.run_id],
    ),
    {
      job_name: 'bars_rebuild',
      provider: 'p',
      symbols: ['SPY'],
      status: 'success',
      rows: report.made + report.revised,
    },
  );

  // the rollups that were open in the micro-batcher's memory hold the history when they close
  const more = walk('SPY', 62, 30, 100);
  const nextDay = tick('SPY', DAY_S, 5);
  await harness.publish([...more, nextDay, tick('SPY', DAY_S + 10, 5)]);
  const everything = [...all, tick('SPY', 60, 9), ...more, nextDay];
  await harness.untilBars('SPY', everything);
  await until(
    'the rollups hold everything',
    async () =>
      JSON.stringify(await rollupsIn(harness.client, 'SPY')) === JSON.stringify(oracleRollups(everything)),
  );
  t.ok((await assertRecomputed(harness.client)) > 0);

  // once more: nothing is touched
  const before = await traces(harness.client);
  const again = await rebuild(t, harness.url, ...RANGE, '--config', config);
  t.match(again, { resumed: false, symbols: ['SPY'], made: 0, revised: 0, kept: 0 });
  t.not(again.run_id, report.run_id);
  t.strictSame(await traces(harness.client), before);
});

void test('bars that differ are revised, richer ones stay, symbols that no micro-batcher saw are made', async (t) => {
  const { harness, config } = await harnessOf(t);
  const ticks = { A: walk('A', -DAY_S, 20, 50), B: walk('B', -DAY_S, 20, 50) };
  await storeTicks(harness.client, [...ticks.A, ...ticks.B]);
  const first = await rebuild(t, harness.url, ...RANGE, '--config', config);
  t.match(first, { symbols: ['A', 'B'], ticks: 100, revised: 0, kept: 0, open_from: {} });
  for (const symbol of ['A', 'B'] as const) {
    t.strictSame(await barsIn(harness.client, { symbol, interval: '2s' }), oracleBars(ticks[symbol], 2_000));
    t.strictSame(await rollupsIn(harness.client, symbol), oracleRollups(ticks[symbol]));
  }
  const damaged = `"interval" = '2s' AND ts = (SELECT min(ts) FROM bars_ohlcv WHERE "interval" = '2s')`;
  await harness.client.query(
    `UPDATE bars_ohlcv SET high = 1e9 WHERE symbol = 'A' AND ${damaged};
     UPDATE bars_ohlcv SET tick_count = tick_count + 1 WHERE symbol = 'B' AND ${damaged}`,
  );
  const kept = await barsIn(harness.client, { symbol: 'B', interval: '2s' });
  // a part of a minute, whose rollups are merged of all of their windows all the same
  const part = ['--from', iso(-DAY_S + 1), '--to', iso(-DAY_S + 3)];
  // the window of A, and the rollups above the one of B that stays
  t.match(await rebuild(t, harness.url, ...part, '--config', config), { windows: 4, revised: 5, kept: 1 });
  t.strictSame(await barsIn(harness.client, { symbol: 'A', interval: '2s' }), oracleBars(ticks.A, 2_000));
  t.strictSame(await rollupsIn(harness.client, 'A'), oracleRollups(ticks.A));
  t.strictSame(await barsIn(harness.client, { symbol: 'B', interval: '2s' }), kept);
  const [version] = await barsIn(harness.client, { table: 'bars_history', symbol: 'A', interval: '2s' });
  t.equal(version.high, 1e9);
});

void test('a part of a day: the rollups above it are those of all ticks', async (t) => {
  const { harness, config } = await harnessOf(t);
  const ticks = walk('A', -DAY_S, 7_200, 400);
  await storeTicks(harness.client, ticks);
  await rebuild(
    t,
    harness.url,
    '--from',
    iso(-DAY_S + 1_000),
    '--to',
    iso(-DAY_S + 2_000),
    '--config',
    config,
  );
  t.ok((await assertRecomputed(harness.client)) > 0);
  const day = await barsIn(harness.client, { symbol: 'A', interval: '1d' });
  t.strictSame(day, oracleBars(ticks, 86_400_000));
});

void test('a run that was killed goes on where it was; two at a time are refused', async (t) => {
  const { harness, config } = await harnessOf(t);
  const ticks = Array.from({ length: 20 }, (_, day) => walk('A', (day - 50) * DAY_S, 1_200, 600)).flat();
  await storeTicks(harness.client, ticks);
  const range = ['--provider', 'p', '--from', iso(-60 * DAY_S), '--to', iso(0), '--config', config];
  const env = { DATABASE_URL: harness.url };
  const killed = new Program('mdp', ['bars', 'rebuild', ...range], env);
  await until(
    'a day is done',
    async () => {
      const { rows } = await harness.client.query(`SELECT FROM job_runs WHERE metadata ? 'position'`);
      return rows.length > 0;
    },
    { pollMs: 1, context: () => killed.tail },
  );
  await killed.kill();
  t.equal(killed.end?.signal, 'SIGKILL', killed.tail);

  // its session lives for a moment longer than its process
  await until('nobody has the run', () => lockRun(harness.client, 1));
  const refused = await runCommand('mdp', ['bars', 'rebuild', ...range], env);
  t.match(refused, { code: 1, stderr: /run 1 with the same arguments is at it/ });
  await harness.client.query('SELECT pg_advisory_unlock_all()');

  const { code, stdout, stderr } = await runCommand('mdp', ['bars', 'rebuild', '--json', ...range], env);
  t.equal(code, 0, stderr);
  t.match(JSON.parse(stdout), { run_id: 1, resumed: true, ticks: ticks.length });
  t.strictSame(await barsIn(harness.client, { interval: '2s' }), oracleBars(ticks, 2_000));
  t.strictSame(await rollupsIn(harness.client, 'A'), oracleRollups(ticks));
  const { rows } = await harness.client.query('SELECT status, error_message FROM job_runs');
  t.strictSame(rows, [{ status: 'success', error_message: null }]);
});

void test('mdp bars rebuild --help names units, defaults and an example; mistakes are one line', async (t) => {
  const { code, stdout } = await runCommand('mdp', ['bars', 'rebuild', '--help'], {});
  t.equal(code, 0);
  for (const part of [
    '--provider <name>',
    '--symbols <list>',
    '--from <time>',
    '--to <time>',
    '--json',
    '(default:',
    'UTC',
    'days',
    'Exit codes:',
    '$ mdp bars rebuild --provider',
  ])
    t.ok(stdout.includes(part), part);
  const mistakes = [
    ['--provider', 'p', '--from', '2025-01-02', '--to', '2025-01-01'],
    ['--provider', 'p', '--from', 'yesterday', '--to', '2025-01-01'],
    ['--provider', 'p', '--from', '1999-01-01', '--to', '2025-01-01'],
    ['--from', '2025-01-01', '--to', '2025-01-02'],
    ['--provider', 'p', '--from', '2025-01-01', '--to', '2025-01-02', '--window', '7s'],
  ];
  for (const args of mistakes) {
    const mistake = await runCommand('mdp', ['bars', 'rebuild', ...args], {
      DATABASE_URL: 'postgres://n@127.0.0.1:1/n',
    });
    t.equal(mistake.code, 2, args.join(' '));
    t.equal(mistake.stderr.trim().split('\n').length, 1, mistake.stderr);
  }
  const none = await runCommand('mdp', ['bars', 'rebuild', ...mistakes[3], '--provider', 'p'], {});
  t.equal(none.code, 2);
});
