import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test, type Test } from 'tap';
import type { Client } from 'pg';
import { connect, parseDatabaseUrl } from '../../../../src/store/postgres/connect.ts';
import { embeddedBinaries } from '../../../../src/store/embedded/binaries.ts';
import { clusterFiles, ensureCluster, prepareFolder } from '../../../../src/store/embedded/cluster.ts';
import {
  startEmbedded,
  type EmbeddedOptions,
  type EmbeddedServer,
} from '../../../../src/store/embedded/server.ts';

const log = { info: () => {}, warn: () => {} };
const settings = { fsync: 'off', shared_buffers: '16MB' };
const isRoot = process.getuid?.() === 0;
const isLinux = process.platform === 'linux';

async function folder(t: Test): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'embedded-test-'));
  await chmod(dir, 0o711);
  t.teardown(() => rm(dir, { recursive: true, force: true }));
  return join(dir, 'made', 'by-it');
}

async function start(
  t: Test,
  dataDir: string,
  options: Partial<EmbeddedOptions> = {},
): Promise<EmbeddedServer> {
  const server = await startEmbedded({ dataDir, settings, log, ...options });
  t.teardown(() => server.stop('immediate'));
  return server;
}

async function ask<T>(server: EmbeddedServer, work: (client: Client) => Promise<T>): Promise<T> {
  const client = await connect(parseDatabaseUrl(server.url()), { applicationName: 'embedded.test' });
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

const keep = (server: EmbeddedServer): Promise<unknown> =>
  ask(server, (client) => client.query('create table kept as select 42 as n'));
const kept = async (server: EmbeddedServer): Promise<unknown> =>
  ask(server, async (client) => (await client.query('select n from kept')).rows);

/** A process that starts the server and then does nothing, in a group of its own as in a terminal. */
async function starter(
  t: Test,
  dataDir: string,
): Promise<{ child: ChildProcess; pid: number; port: number }> {
  const script = `
    import { startEmbedded } from ${JSON.stringify(new URL('../../../../src/store/embedded/server.ts', import.meta.url).href)};
    const log = { info() {}, warn() {} };
    const server = await startEmbedded({ dataDir: process.argv[1], settings: ${JSON.stringify(settings)}, log });
    console.log(JSON.stringify({ pid: server.pid, port: server.port }));
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script, dataDir], {
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, CANARY_SECRET: 'never-for-the-server' },
  });
  t.teardown(() => child.kill('SIGKILL'));
  for await (const line of createInterface({ input: child.stdout })) {
    return { child, ...(JSON.parse(line) as { pid: number; port: number }) };
  }
  throw new Error('the starter ended without a word');
}

/** How the server ended. A server does not keep its starter's process alive, so something else must. */
async function exitOf(server: EmbeddedServer): Promise<string> {
  const alive = setInterval(() => {}, 1000);
  try {
    return await server.exited;
  } finally {
    clearInterval(alive);
  }
}

function ended(child: ChildProcess): Promise<void> {
  return new Promise((done) => child.once('exit', () => done()));
}

void test('a folder that does not exist becomes a server, and keeps its data', async (t) => {
  const dataDir = await folder(t);
  const first = await start(t, dataDir);
  t.equal(first.adopted, false);
  await keep(first);
  const { rows } = await ask(first, (client) =>
    client.query(
      "select current_setting('listen_addresses') as at, current_setting('unix_socket_directories') as sockets",
    ),
  );
  t.same(rows, [{ at: '127.0.0.1', sockets: '' }]);
  const wrong = first.url().replace(/:[^:@]+@/, ':wrong@');
  await t.rejects(
    connect(parseDatabaseUrl(wrong), { applicationName: 'x' }),
    { code: '28P01' },
    'a password is needed',
  );
  t.equal((await stat(join(dataDir, 'pgdata', 'embedded_password'))).mode & 0o077, 0);
  await first.stop();
  await first.stop();
  t.match(await exitOf(first), 'exit code 0');
  t.same(await kept(await start(t, dataDir)), [{ n: 42 }]);
});

void test('a server that outlives its starter is adopted', async (t) => {
  const dataDir = await folder(t);
  const { child, pid, port } = await starter(t, dataDir);
  const gone = ended(child);
  process.kill(-(child.pid ?? 0), 'SIGINT'); // Ctrl-C reaches the whole group
  await gone;
  const server = await start(t, dataDir);
  t.match(server, { adopted: true, pid, port });
  await keep(server);
  if (isLinux) {
    const environment = isRoot ? await readFile(`/proc/${pid}/environ`, 'utf8') : '';
    t.notMatch(environment, 'never-for-the-server');
  }
  await server.stop();
  t.match(await exitOf(server), 'gone');
  const again = await start(t, dataDir);
  t.equal(again.adopted, false);
  t.same(await kept(again), [{ n: 42 }]);
});

void test('a starter killed at once leaves something to start from', async (t) => {
  const dataDir = await folder(t);
  const { child } = await starter(t, dataDir);
  const gone = ended(child);
  child.kill('SIGKILL');
  await gone;
  t.equal((await start(t, dataDir)).adopted, true);
});

void test('two starts at once end at one server', async (t) => {
  const dataDir = await folder(t);
  const servers = await Promise.all([start(t, dataDir), start(t, dataDir)]);
  t.equal(servers[0].pid, servers[1].pid);
  t.equal(servers.filter((server) => server.adopted).length, 1);
});

void test('a server that was killed is noticed, and its folder is started again', async (t) => {
  const dataDir = await folder(t);
  const server = await start(t, dataDir);
  await keep(server);
  process.kill(server.pid, 'SIGKILL');
  t.equal(await exitOf(server), 'signal SIGKILL');
  const again = await start(t, dataDir);
  t.equal(again.adopted, false);
  t.same(await kept(again), [{ n: 42 }]);
});

void test(
  'a lock whose number belongs to another process now does not keep the server down',
  { skip: isLinux ? false : 'needs /proc' },
  async (t) => {
    const dataDir = await folder(t);
    const server = await start(t, dataDir);
    await keep(server);
    process.kill(server.pid, 'SIGKILL');
    await exitOf(server);
    const data = join(dataDir, 'pgdata');
    const { uid, gid } = await stat(data);
    // of the server's own user, or PostgreSQL would see by itself that it cannot be a server
    const other = spawn('sleep', ['600'], { ...(isRoot ? { uid, gid } : {}), stdio: 'ignore' });
    t.teardown(() => other.kill());
    const pidFile = join(data, 'postmaster.pid');
    const lines = (await readFile(pidFile, 'utf8')).split('\n');
    lines[0] = String(other.pid);
    await writeFile(pidFile, lines.join('\n'));
    const again = await start(t, dataDir);
    t.equal(again.adopted, false);
    t.same(await kept(again), [{ n: 42 }]);
  },
);

void test('what keeps it from starting is said', async (t) => {
  const dataDir = await folder(t);
  const taken = createServer();
  await new Promise<void>((done) => taken.listen(0, '127.0.0.1', done));
  t.teardown(() => taken.close());
  const address = taken.address();
  const port = address !== null && typeof address === 'object' ? address.port : 0;
  await t.rejects(start(t, dataDir, { port }), { message: /could not bind.*server\.log/ });
  await t.rejects(start(t, dataDir, { settings: { shared_buffers: 'much' } }), { message: /shared_buffers/ });
  const server = await start(t, dataDir);
  t.equal(server.adopted, false, 'and does not stand in the way of a better attempt');
});

void test(
  'as root, a folder that the server user cannot reach is named',
  { skip: isRoot ? false : 'needs root' },
  async (t) => {
    const closed = await mkdtemp(join(tmpdir(), 'embedded-closed-')); // 0700
    t.teardown(() => rm(closed, { recursive: true, force: true }));
    await t.rejects(start(t, join(closed, 'data')), { message: new RegExp(`may not enter ${closed}`) });
  },
);

const NO_ACCOUNT = 54_321;

void test(
  'a user without an entry in /etc/passwd is said, with what to do',
  { skip: isRoot ? false : 'needs root' },
  async (t) => {
    const said = new RegExp(`uid ${NO_ACCOUNT}, which has no entry in /etc/passwd: add one`);
    const user = { uid: NO_ACCOUNT, gid: NO_ACCOUNT };
    const files = clusterFiles(await folder(t));
    prepareFolder(files, user);
    const binaries = await embeddedBinaries(user);
    await t.rejects(ensureCluster(files, binaries, user, { sync: false }), { message: said });

    // this process itself: in a user namespace, which is not allowed everywhere
    const script = `
      const { startEmbedded } = await import(${JSON.stringify(new URL('../../../../src/store/embedded/server.ts', import.meta.url).href)});
      const log = { info() {}, warn() {} };
      await startEmbedded({ dataDir: process.argv[1], log }).catch((error) => console.log(error.message));`;
    const args = [
      '--user',
      `--map-user=${NO_ACCOUNT}`,
      process.execPath,
      '--input-type=module',
      '-e',
      script,
    ];
    const { stdout, stderr, error } = spawnSync('unshare', [...args, await folder(t)], { encoding: 'utf8' });
    if (error !== undefined || stderr.startsWith('unshare:')) t.comment(`not here: ${stderr}`);
    else t.match(stdout, said, stderr);
  },
);
