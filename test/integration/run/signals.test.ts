import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { test, type Test } from 'tap';
import { startDaemon, type Daemon } from '../../support/chain/daemon.ts';
import { Program } from '../../support/run/program.ts';
import { until } from '../../support/until.ts';

/** Nobody listens on port 1: the daemon waits for both of its servers. */
const NOWHERE = { CONTINUUM_GRPC_URL: '127.0.0.1:1', DATABASE_URL: 'postgres://u@127.0.0.1:1/db' };

async function waiting(t: Test): Promise<Daemon> {
  const daemon = startDaemon({ env: NOWHERE });
  t.after(() => daemon.end());
  await daemon.logged('Failed to connect to database');
  return daemon;
}

for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
  void test(`${signal} ends the daemon cleanly`, async (t) => {
    const daemon = await waiting(t);
    daemon.kill(signal);
    // a terminal that closes sends it twice: by its shell and by the kernel
    if (signal === 'SIGHUP') daemon.kill(signal);
    t.strictSame(await daemon.exited, { code: 0, signal: null }, daemon.tail());
  });
}

void test('SIGUSR1 and SIGUSR2 do nothing: no inspector, no end', async (t) => {
  const daemon = await waiting(t);
  for (const signal of ['SIGUSR1', 'SIGUSR2'] as const) {
    daemon.kill(signal);
    await daemon.logged((line) => line.msg === 'Signal ignored' && line['signal'] === signal);
  }
  t.equal((await daemon.get('/health'))?.code, 200);
  await daemon.stop();
  t.equal(daemon.stderr, '', 'Node would have said where its debugger listens');
});

void test('the launcher keeps SIGUSR1 from Node at any moment', async (t) => {
  const launcher = fileURLToPath(new URL('../../../bin/tick-ingester', import.meta.url));
  const child = spawn(launcher, [], {
    cwd: tmpdir(),
    env: { PATH: process.env['PATH'], ENV: 'production', HEALTH_CHECK_PORT: '0', ...NOWHERE },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  t.after(() => child.kill('SIGKILL'));
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const closed = once(child, 'close');
  for await (const line of createInterface({ input: child.stdout })) {
    const { msg } = JSON.parse(line) as { msg: string };
    if (msg === 'Starting') child.kill('SIGUSR1');
    if (msg === 'Failed to connect to database') child.kill('SIGTERM');
    t.not(msg, 'Signal ignored', 'it does not come as far as our own handler');
  }
  t.strictSame(await closed, [0, null], stderr);
  t.equal(stderr, '');
});

void test('a role of mdp stream ends cleanly at SIGHUP and ignores SIGUSR2', async (t) => {
  const lines: Record<string, unknown>[] = [];
  const role = new Program(
    'mdp',
    ['stream', 'ticks', '--metrics-port', '0'],
    { DATABASE_URL: NOWHERE.DATABASE_URL },
    (line) => lines.push(line),
  );
  t.after(() => role.kill());
  const said = (msg: string): Promise<unknown> =>
    until(msg, () => lines.some((line) => line['msg'] === msg), { context: () => role.tail });
  await said('The database does not answer (will try again)');
  role.signal('SIGUSR2');
  await said('Signal ignored');
  role.signal('SIGHUP');
  t.strictSame(await role.ended, { code: 0, signal: null }, role.tail);
});
