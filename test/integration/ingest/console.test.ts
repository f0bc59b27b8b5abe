import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'tap';
import { readTicks } from '../../prove/chain/real-ticks.ts';
import { startDaemon, type Daemon } from '../../support/chain/daemon.ts';
import { chainSpec, expectedTicks, simArguments } from '../../support/chain/content/expected.ts';
import { sharedPostgres } from '../../support/servers/postgres.ts';
import { withIngester } from '../../support/chain/harness.ts';
import { startSim, type RunningSim } from '../../support/chain/sim.ts';
import { until } from '../../support/until.ts';
import { realTicks } from '../../support/chain/content/real-ticks.ts';

const PROGRAM = fileURLToPath(new URL('../../../dist/run/tick-ingester.js', import.meta.url));

function consoleDaemon(sim: RunningSim, format: string, env: Record<string, string> = {}): Daemon {
  return startDaemon({
    stdout: 'raw',
    env: {
      CONTINUUM_GRPC_URL: sim.address,
      OUTPUT_MODE: 'console',
      OUTPUT_FORMAT: format,
      START_TICK: '1',
      ...env,
    },
  });
}

/** What stdout carried, once there are so many lines; then a clean end. */
async function printed(daemon: Daemon, lines: number): Promise<string[]> {
  await until(
    `${lines} lines`,
    () => {
      assert.equal(daemon.exit, null, daemon.tail());
      return daemon.otherLines.length >= lines;
    },
    { context: () => `${daemon.otherLines.length} lines\n${daemon.tail()}` },
  );
  await daemon.stop();
  assert.equal(daemon.otherLines.length, lines, 'nothing but ticks on stdout');
  assert.ok(daemon.log.length > 0, 'logs are on stderr');
  assert.ok(daemon.log.every(({ level, msg }) => typeof level === 'string' && typeof msg === 'string'));
  return daemon.otherLines;
}

void test(
  'json: the shape of the real file, field names and order included',
  { skip: realTicks.skip },
  async () => {
    const replay = await startSim(['--replay', realTicks.path], { from: 'dist' });
    try {
      const file = await readFile(realTicks.path, 'utf8');
      const objects = file
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as unknown);
      const wanted = objects.flatMap((object) => JSON.stringify(object, null, 2).split('\n'));
      const lines = await printed(
        consoleDaemon(replay, 'json', { START_TICK: '541409765', REORDER_WINDOW: '20ms' }),
        wanted.length,
      );
      const shown = JSON.parse(
        `[${lines.join('\n').replaceAll(/^\}$/gm, '},').replace(/,$/, '')}]`,
      ) as unknown[];
      assert.deepEqual(shown, objects);
      assert.deepEqual(shown.map(keysOf), objects.map(keysOf), 'the order of the fields');
    } finally {
      await replay.stop();
    }
  },
);

void test('console mode', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'console-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const spec = chainSpec({ seed: 95, txs: 1, hostile: false });
  const count = 3_000;
  const sim = await startSim(simArguments(spec, count), { from: 'dist' });
  t.after(() => sim.stop());

  await t.test('compact: one tick a line, which the simulator replays as the same chain', async () => {
    const lines = await printed(consoleDaemon(sim, 'compact'), count);
    assert.deepEqual(readTicks(lines.join('\n')), [...expectedTicks(spec, count)]);
    const file = join(folder, 'compact.jsonl');
    await writeFile(file, `${lines.join('\n')}\n`);
    const server = await sharedPostgres();
    try {
      const options = {
        databaseUrl: await server.createDatabase(),
        spec,
        count,
        simArgs: ['--replay', file],
      };
      await withIngester(options, async (harness) => {
        const daemon = harness.daemon();
        await harness.untilCaughtUp(daemon);
        await daemon.stop();
        await harness.verify();
      });
    } finally {
      await server.stop();
    }
  });

  await t.test('table: a header and aligned columns', async () => {
    const [header, ...rows] = await printed(consoleDaemon(sim, 'table'), count + 1);
    assert.match(header, /^ *TICK +TIMESTAMP +TXS +BYTES/);
    const ends = header.indexOf('TICK') + 4;
    const timestampAt = header.indexOf('TIMESTAMP');
    rows.forEach((row, at) => {
      assert.equal(row.slice(0, ends).trim(), `${at + 1}`, 'numbers end below their title');
      assert.match(row.slice(timestampAt), /^2025-08-23T10:00:0\d\.\d{6}Z /);
    });
    const widths = new Set(rows.map((row) => row.search(/\S+$/)));
    assert.equal(widths.size, 1, 'the last column begins at one place');
  });

  await t.test('| head -1 ends it cleanly', async () => {
    const env = {
      PATH: process.env['PATH'] ?? '',
      ENV: 'production',
      HEALTH_CHECK_PORT: '0',
      CONTINUUM_GRPC_URL: sim.address,
      OUTPUT_MODE: 'console',
      OUTPUT_FORMAT: 'compact',
      START_TICK: '1',
    };
    // the daemon's own exit code, on a descriptor that head does not read
    const child = spawn(
      'sh',
      ['-c', '{ "$0" "$1"; echo "code $?" >&2; } | head -1', process.execPath, PROGRAM],
      {
        cwd: folder,
        env,
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    await new Promise((resolve) => child.once('close', resolve));
    assert.equal(stdout.trimEnd().split('\n').length, 1);
    assert.equal(readTicks(stdout)[0].tickNumber, 1n);
    assert.match(stderr, /code 0\n/);
    assert.doesNotMatch(stderr, /EPIPE|Error:/);
  });

  await t.test('no database is needed, and /ready is about the stream', async () => {
    const daemon = consoleDaemon(sim, 'compact');
    await daemon.untilReady('ready');
    assert.equal(
      await until('it counts', async () => (await daemon.metric('tick_ingester_ticks_total')) === count),
      true,
    );
    await daemon.stop();
    const lost = consoleDaemon(sim, 'compact', { CONTINUUM_GRPC_URL: '127.0.0.1:9' });
    const { reasons } = await lost.untilReady('stream');
    assert.deepEqual(reasons, ['stream']);
    assert.equal(lost.otherLines.length, 0);
    await lost.stop();
  });
});

/** Names of fields in their order, at all depths. */
function keysOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(keysOf);
  if (typeof value !== 'object' || value === null) return null;
  return Object.entries(value).map(([key, inner]) => [key, keysOf(inner)]);
}
