import assert from 'node:assert/strict';
import { spawn, spawnSync, type ChildProcessByStdio } from 'node:child_process';
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { test, type Test } from 'tap';
import { chainSpec, simArguments } from '../../support/chain/content/expected.ts';
import { startSim } from '../../support/chain/sim.ts';
import { sharedPostgres } from '../../support/servers/postgres.ts';
import { until } from '../../support/until.ts';

const root = fileURLToPath(new URL('../../../', import.meta.url));

/**
 * What a container makes of a process, without Docker: number 1 of its own, a root file system that it cannot write, nobody's
 * rights, no HOME and no variable but PATH.
 */
const BOX = [
  '--mount',
  '--pid',
  '--fork',
  '--kill-child',
  '--mount-proc',
  '--propagation',
  'private',
  'sh',
  '-c',
  'mount -o remount,ro,bind / && exec setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs env -i PATH=/usr/bin:/bin "$@"',
  'sh',
];

const skip = ((): string | false => {
  const { status, stderr } = spawnSync('unshare', [...BOX, `${root}bin/mdp`, '--version'], {
    encoding: 'utf8',
  });
  return status === 0 ? false : `no box can be made here: ${stderr ?? 'unshare is missing'}`.trim();
})();

interface Boxed {
  process: ChildProcessByStdio<null, Readable, Readable>;
  output: { stdout: string; stderr: string };
  ended: Promise<number | null>;
  /** to the first process of the box */
  kill(signal: NodeJS.Signals): Promise<void>;
}

function boxed(
  t: Test,
  program: string,
  args: string[],
  env: Record<string, string>,
  cgroup?: string,
): Boxed {
  const assigned = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const command = ['unshare', ...BOX, ...assigned, `${root}bin/${program}`, ...args];
  const enter = cgroup === undefined ? '' : `echo $$ > ${cgroup}/cgroup.procs && `;
  const child = spawn('sh', ['-c', `${enter}exec "$@"`, 'sh', ...command], {
    stdio: ['ignore', 'pipe', 'pipe'],
    cwd: '/',
  });
  t.teardown(() => child.kill('SIGKILL'));
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const)
    child[name].setEncoding('utf8').on('data', (text: string) => (output[name] += text));
  return {
    process: child,
    output,
    ended: new Promise((resolve) => child.once('close', resolve)),
    kill: async (signal) => {
      const first = await until('the box has a process', () =>
        readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').trim(),
      );
      process.kill(Number(first), signal);
    },
  };
}

/** A group of processes with this much memory; undefined where none can be made. */
function memoryGroup(t: Test, bytes: number): string | undefined {
  const name = `tick-ingester-test-${process.pid}`;
  for (const [folder, limit] of [
    ['/sys/fs/cgroup/memory', 'memory.limit_in_bytes'],
    ['/sys/fs/cgroup', 'memory.max'],
  ]) {
    const group = `${folder}/${name}`;
    try {
      mkdirSync(group);
      t.teardown(() => until('nobody is in the group', () => removed(group)));
      writeFileSync(`${group}/${limit}`, `${bytes}`);
      return group;
    } catch {
      // the other kind, or none
    }
  }
  return undefined;
}

function removed(group: string): boolean {
  try {
    rmdirSync(group);
    return true;
  } catch {
    return false;
  }
}

void test('as the first process of a read-only container, as nobody, without HOME', { skip }, async (t) => {
  const server = await sharedPostgres();
  t.teardown(() => server.stop());
  const databaseUrl = await server.createDatabase();

  await t.test('the daemon takes ticks within 512 MiB, and SIGTERM ends it cleanly', async (s) => {
    const sim = await startSim(simArguments(chainSpec({ seed: 11, txs: 1 }), 500), { from: 'dist' });
    s.teardown(() => sim.stop());
    const group = memoryGroup(s, 512 * 2 ** 20);
    const env = {
      CONTINUUM_GRPC_URL: sim.address,
      DATABASE_URL: databaseUrl,
      START_TICK: '1',
      HEALTH_CHECK_PORT: '0',
      ENV: 'production',
    };
    const daemon = boxed(s, 'tick-ingester', [], env, group);
    await until('the last tick is written', () => daemon.output.stdout.includes('"last_tick":500'), {
      context: () => daemon.output.stdout + daemon.output.stderr,
    });
    if (group === undefined) s.comment('no memory group can be made here');
    else s.match(daemon.output.stdout, /BUFFER_BYTES: 64MiB of the 512MiB that this process may use/);
    await daemon.kill('SIGTERM');
    s.equal(await daemon.ended, 0, daemon.output.stderr);
  });

  await t.test('commands work, and a signal ends one', async (s) => {
    const status = boxed(s, 'mdp', ['db', 'status'], { DATABASE_URL: databaseUrl });
    s.equal(await status.ended, 0, status.output.stderr);
    s.match(status.output.stdout, /001_create_tables\.sql +applied/);

    const silent = createServer(() => {});
    await new Promise<void>((done) => silent.listen(0, '127.0.0.1', done));
    s.teardown(() => silent.close());
    const { port } = silent.address() as AddressInfo;
    let isConnected = false;
    silent.once('connection', () => (isConnected = true));
    const waiting = boxed(s, 'mdp', ['db', 'status'], {
      DATABASE_URL: `postgres://u:p@127.0.0.1:${port}/d?connect_timeout=600`,
    });
    await until('it waits for the database', () => isConnected, { context: () => waiting.output.stderr });
    await waiting.kill('SIGTERM');
    assert.equal(await waiting.ended, 143);
  });
});
