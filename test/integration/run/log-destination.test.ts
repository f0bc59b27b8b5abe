import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test, type Test } from 'tap';
import { freePort } from '../../support/servers/free-port.ts';
import { smallDisk } from '../../support/servers/small-disk.ts';
import { unreadPipe } from '../../support/run/unread-pipe.ts';
import { until } from '../../support/until.ts';

const root = new URL('../../../', import.meta.url);
const file = (path: string): string => fileURLToPath(new URL(path, root));

/** Nobody listens on port 1: the daemon says so every few seconds and waits. */
const NOWHERE = { CONTINUUM_GRPC_URL: '127.0.0.1:1', DATABASE_URL: 'postgres://u@127.0.0.1:1/db' };

interface Started {
  child: ChildProcess;
  exited: Promise<unknown[]>;
  port: number;
}

async function daemonOn(t: Test, stdout: number): Promise<Started> {
  const port = await freePort();
  const child = spawn(process.execPath, [file('dist/run/tick-ingester.js')], {
    cwd: tmpdir(),
    env: { PATH: process.env['PATH'], ENV: 'production', HEALTH_CHECK_PORT: `${port}`, ...NOWHERE },
    stdio: ['ignore', stdout, 'inherit'],
  });
  t.after(() => child.kill('SIGKILL'));
  return { child, exited: once(child, 'exit'), port };
}

async function text(port: number, path: string): Promise<string> {
  const answer = await fetch(`http://127.0.0.1:${port}${path}`);
  return `${answer.status} ${await answer.text()}`;
}

/** It works on although no line went out, and ends when it is told to. */
async function worksAndEnds(t: Test, { child, exited, port }: Started): Promise<void> {
  const tried = /retries_total\{component="database"\} [1-9]/;
  await until('it has tried to connect', async () => {
    if (child.exitCode !== null || child.signalCode !== null)
      throw new Error(`it ended: ${child.exitCode} ${child.signalCode}`);
    return await text(port, '/metrics').then(
      (metrics) => tried.test(metrics),
      () => false,
    );
  });
  t.match(await text(port, '/health'), /^200 /);
  child.kill('SIGTERM');
  t.strictSame(await exited, [0, null]);
}

void test('a stdout that nobody reads stops neither the daemon nor its end', async (t) => {
  const pipe = unreadPipe();
  t.after(() => pipe.close());
  pipe.fill();
  await worksAndEnds(t, await daemonOn(t, pipe.fd));
});

void test('a log disk without space stops neither a start nor the daemon', async (t) => {
  const full = openSync('/dev/full', 'w');
  t.after(() => closeSync(full));
  await worksAndEnds(t, await daemonOn(t, full));
});

const LINES = 20_000;
/** Writes more than may wait, says so, and goes on for as long as it is let. */
const WRITER = `
  const { createLog } = await import(${JSON.stringify(file('src/run/telemetry/log.ts'))});
  const { LogSink, logLosses } = await import(${JSON.stringify(file('src/run/telemetry/log/sink.ts'))});
  const { systemClock } = await import(${JSON.stringify(file('src/core/time.ts'))});
  const log = createLog({ service: 's', level: 'info', format: 'json', color: false, clock: systemClock,
    redact: (text) => text, destination: new LogSink(1) });
  for (let n = 0; n < ${LINES}; n++) log.info({ n, filling: 'x'.repeat(100) }, 'line');
  process.send({ dropped: logLosses.lines });
  process.once('message', () => process.exit(0));`;

interface Line {
  msg: string;
  n?: number;
  lines?: number;
  reason?: string;
}

async function writerOn(t: Test, stdout: number | 'pipe'): Promise<{ child: ChildProcess; dropped: number }> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', WRITER], {
    stdio: ['ignore', stdout, 'inherit', 'ipc'],
  });
  t.after(() => child.kill('SIGKILL'));
  const [{ dropped }] = (await once(child, 'message')) as [{ dropped: number }];
  return { child, dropped };
}

/** Every line is whole, those that waited are in order, and the rest is counted in a line of its own. */
function checkLines(t: Test, written: string, dropped: number, reason: string): void {
  const lines = written
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Line);
  const report = lines.at(-1);
  t.match(report, { level: 'warn', msg: /^Log lines were dropped/, lines: dropped, reason });
  t.ok(dropped > 0);
  t.strictSame(
    lines.slice(0, -1).map(({ n }) => n),
    Array.from({ length: LINES - dropped }, (_, n) => n),
  );
}

const hasReport = (written: string): boolean => /Log lines were dropped[^\n]*\n/.test(written);

void test('what a pipe does not take waits up to a bound, the rest is dropped and counted', async (t) => {
  const pipe = unreadPipe();
  t.after(() => pipe.close());
  const { dropped } = await writerOn(t, pipe.fd);
  checkLines(t, await pipe.read(hasReport), dropped, 'EAGAIN');
});

void test('the same with a socket, as systemd gives one', async (t) => {
  // spawn's own pipe is one; it is not read before somebody listens
  const { child, dropped } = await writerOn(t, 'pipe');
  let written = '';
  child.stdout?.setEncoding('utf8').on('data', (more: string) => (written += more));
  await until('the report came', () => hasReport(written));
  checkLines(t, written, dropped, 'EAGAIN');
});

void test('a full disk: the log goes on once there is space', async (t) => {
  const disk = await smallDisk(4 * 2 ** 20, tmpdir());
  if (typeof disk === 'string') {
    t.comment(`skipped: ${disk}`);
    return;
  }
  t.after(disk.close);
  await disk.fill(100_000);
  const path = join(disk.folder, 'log');
  const fd = openSync(path, 'a');
  t.after(() => closeSync(fd));
  const { dropped } = await writerOn(t, fd);
  await disk.release();
  await until('the report came', () => hasReport(readFileSync(path, 'utf8')));
  checkLines(t, readFileSync(path, 'utf8'), dropped, 'ENOSPC');
});
