import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { type Test, test } from 'tap';
import { createNotifier, type NotifierOptions } from '../../../../src/run/telemetry/systemd.ts';

/** A stand-in for systemd-notify that appends what it was asked to send, one line a call. */
function stub(t: Test, body = '') {
  const folder = t.testdir();
  const command = join(folder, 'notify');
  const sent = join(folder, 'sent');
  writeFileSync(command, `#!/bin/sh\n${body}\necho "$NOTIFY_SOCKET|$*" >> '${sent}'\n`, { mode: 0o755 });
  return {
    command,
    folder,
    lines: () => (existsSync(sent) ? readFileSync(sent, 'utf8').trimEnd().split('\n') : []),
  };
}

function notifier(options: Partial<NotifierOptions>, warnings: string[] = []) {
  return createNotifier({
    socket: '/run/test.sock',
    watchdogMs: null,
    healthy: () => true,
    warn: (message) => warnings.push(message),
    ...options,
  });
}

/** Polls: what is waited for happens in another process. The limit of the test file bounds it. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await pause(5);
}

void test('each state of the service is sent', async (t) => {
  const { command, lines } = stub(t);
  const notify = notifier({ command });
  notify.ready();
  await until(() => lines().length === 1);
  notify.stopping();
  await notify.close();
  t.strictSame(lines(), ['/run/test.sock|READY=1', '/run/test.sock|STOPPING=1']);
});

void test('one process at a time: what waits goes together and once', async (t) => {
  const gate = join(t.testdir(), 'gate');
  const { command, lines } = stub(t, `while [ ! -e '${gate}' ]; do sleep 0.01; done`);
  const notify = notifier({ command });
  notify.ready();
  for (let i = 0; i < 50; i++) {
    notify.ready();
    notify.stopping();
  }
  writeFileSync(gate, '');
  await notify.close();
  t.strictSame(lines(), ['/run/test.sock|READY=1', '/run/test.sock|READY=1 STOPPING=1']);
});

void test('the watchdog is fed while healthy and runs out when not', async (t) => {
  const { command, lines } = stub(t);
  let healthy = true;
  let asked = 0;
  const notify = notifier({
    command,
    watchdogMs: 20,
    healthy: () => {
      asked++;
      return healthy;
    },
  });
  const keepAlive = setInterval(() => {}, 1000); // the notifier's own timer keeps no process alive
  await until(() => lines().length >= 2);
  t.ok(lines().every((line) => line === '/run/test.sock|WATCHDOG=1'));
  healthy = false;
  const before = asked;
  await until(() => asked >= before + 5);
  notify.ready();
  await until(() => lines().at(-1)!.includes('READY=1'));
  const fed = lines().length;
  const later = asked;
  await until(() => asked >= later + 5);
  t.equal(lines().length, fed, 'nothing more was sent');
  clearInterval(keepAlive);
  await notify.close();
});

void test('an absent program is one warning and nothing worse', async (t) => {
  const warnings: string[] = [];
  const notify = notifier({ command: '/nonexistent/systemd-notify' }, warnings);
  notify.ready();
  await until(() => warnings.length > 0);
  notify.stopping();
  await notify.close();
  t.strictSame(warnings, [
    'systemd was not notified (ENOENT): a unit of Type=notify will take the service for failed',
  ]);
});

void test('a program that fails is a warning with its code', async (t) => {
  const warnings: string[] = [];
  const notify = notifier({ command: stub(t, 'exit 3').command }, warnings);
  notify.ready();
  await notify.close();
  t.match(warnings, [/systemd-notify ended with 3/]);
});

void test('outside a unit nothing is started', async (t) => {
  const { command, lines } = stub(t);
  const notify = notifier({ command, socket: null, watchdogMs: 1 });
  notify.ready();
  notify.stopping();
  await notify.close();
  t.strictSame(lines(), []);
});

const missing = ['systemd-notify', 'python3'].find(
  (program) => spawnSync(program, ['--version']).error !== undefined,
);

void test(
  'the real systemd-notify delivers datagrams',
  { skip: missing === undefined ? false : `${missing} is absent` },
  async (t) => {
    // not in t.testdir(): a socket's path has at most 107 bytes, and a clone may lie deep
    const folder = mkdtempSync(join(tmpdir(), 'notify-'));
    t.teardown(() => rmSync(folder, { recursive: true }));
    const socket = join(folder, 's');
    // Node cannot receive unix datagrams either.
    const listener = spawn(
      'python3',
      [
        '-c',
        `import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print("bound", flush=True)
while True:
    text = s.recv(4096).decode()
    if "BARRIER" not in text: print(text, flush=True)`,
        socket,
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    t.teardown(() => listener.kill());
    let received = '';
    listener.stdout.on('data', (chunk: Buffer) => (received += chunk.toString()));
    await once(listener.stdout, 'data');
    const warnings: string[] = [];
    const notify = notifier({ socket }, warnings);
    notify.ready();
    await notify.close();
    await until(() => received.includes('READY=1'));
    t.strictSame(warnings, []);
  },
);
