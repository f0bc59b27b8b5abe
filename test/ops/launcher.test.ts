import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Test, test } from 'tap';

const bin = fileURLToPath(new URL('../../bin/', import.meta.url));
/** Each launcher with the program that it starts. */
const LAUNCHERS = {
  'tick-ingester': 'dist/run/tick-ingester.js',
  mdp: 'dist/run/mdp.js',
  'sequencer-sim': 'dist/sim/main.js',
} as const;
/** Prints what it was given and by which Node. */
const PROGRAM = `console.log(JSON.stringify({ file: import.meta.filename, args: process.argv.slice(2), cwd: process.cwd(),
  node: process.execPath, execArgv: process.execArgv, options: process.env.NODE_OPTIONS ?? null }));`;

interface Package {
  root: string;
  launcher: string;
}

/** A package as it is installed: launchers, built programs, its own Node unless told otherwise. */
function install(
  t: Test,
  { built = true, node = process.execPath }: { built?: boolean; node?: string | null } = {},
): Package {
  const root = join(t.testdir(), 'a folder with spaces');
  for (const folder of ['bin', 'dist/run', 'dist/sim', 'node_modules/.bin'])
    mkdirSync(join(root, folder), { recursive: true });
  writeFileSync(join(root, 'package.json'), '{"type":"module"}');
  // npm gives the executable bit to what package.json calls a bin, and to nothing else
  copyFileSync(join(bin, 'launch'), join(root, 'bin/launch'));
  chmodSync(join(root, 'bin/launch'), 0o644);
  for (const [name, program] of Object.entries(LAUNCHERS)) {
    copyFileSync(join(bin, name), join(root, 'bin', name));
    chmodSync(join(root, 'bin', name), 0o755);
    if (built) writeFileSync(join(root, program), PROGRAM);
  }
  if (node !== null) symlinkSync(node, join(root, 'node_modules/.bin/node'));
  return { root, launcher: join(root, 'bin/tick-ingester') };
}

/** A Node that says it is of this version and can do nothing else. */
function fakeNode(folder: string, version: string): string {
  mkdirSync(folder, { recursive: true });
  const path = join(folder, 'node');
  writeFileSync(path, `#!/bin/sh\n[ "$1" = --version ] && echo ${version} && exit 0\necho "fake $*"\n`, {
    mode: 0o755,
  });
  return path;
}

function run(command: string, args: string[], options: { cwd?: string; env?: Record<string, string> } = {}) {
  return spawnSync(command, args, { encoding: 'utf8', cwd: options.cwd ?? '/', env: options.env ?? {} });
}

void test('all launchers are one text but for what they start, executable, for any POSIX shell', async (t) => {
  const texts = Object.entries(LAUNCHERS).map(([name, program]) =>
    readFileSync(join(bin, name), 'utf8').replace(`${name} ${program.slice('dist/'.length, -3)}`, 'NAME'),
  );
  t.match(texts[0], / NAME "\$@"\n$/);
  t.equal(new Set(texts).size, 1);
  const packaged = JSON.parse(readFileSync(join(bin, '../package.json'), 'utf8')) as { bin: object };
  t.same(Object.keys(packaged.bin), Object.keys(LAUNCHERS));
  for (const name of ['launch', ...Object.keys(LAUNCHERS)]) {
    if (name !== 'launch') t.equal(statSync(join(bin, name)).mode & 0o111, 0o111, 'executable');
    t.equal(run('/bin/sh', ['-n', join(bin, name)]).status, 0);
  }
});

void test('each launcher starts its own program with all arguments, from another folder and a bare environment', async (t) => {
  const { root } = install(t);
  for (const [name, program] of Object.entries(LAUNCHERS)) {
    const args = ['verify', '--from', '1', 'two words', '', '$HOME', '*'];
    const { stdout, stderr, status } = run(join(root, 'bin', name), args, { cwd: '/tmp' });
    t.equal(stderr, '');
    t.equal(status, 0);
    const given = JSON.parse(stdout) as { execArgv: string[] };
    t.match(given, { file: join(root, program), args, cwd: '/tmp' });
    const closed = name === 'sequencer-sim' ? [] : ['--disable-sigusr1'];
    t.strictSame(given.execArgv, closed, 'the simulator has a use of its own for SIGUSR1');
  }
});

void test('it works through symlinks, relative ones and chains of them', async (t) => {
  const { root, launcher } = install(t);
  const links = join(dirname(root), 'links');
  mkdirSync(links);
  symlinkSync(launcher, join(links, 'absolute'));
  symlinkSync('../a folder with spaces/bin/tick-ingester', join(links, 'relative'));
  symlinkSync('relative', join(links, 'chained'));
  for (const name of ['absolute', 'relative', 'chained']) {
    const { stdout } = run(join(links, name), []);
    t.match(JSON.parse(stdout), { file: join(root, 'dist/run/tick-ingester.js') }, name);
  }
  t.match(
    JSON.parse(run('/bin/sh', ['chained'], { cwd: links }).stdout),
    { cwd: links },
    'named without a folder',
  );
  const onPath = run('/bin/sh', ['-c', 'relative'], { env: { PATH: `${links}:/usr/bin:/bin` } });
  t.match(JSON.parse(onPath.stdout), { file: join(root, 'dist/run/tick-ingester.js') }, 'found on PATH');
});

void test('NODE_OPTIONS and the exit code pass through', async (t) => {
  const { root, launcher } = install(t);
  const { stdout } = run(launcher, [], { env: { NODE_OPTIONS: '--max-old-space-size=64' } });
  t.match(JSON.parse(stdout), { options: '--max-old-space-size=64' });
  writeFileSync(join(root, 'dist/run/tick-ingester.js'), 'process.exit(7);');
  t.equal(run(launcher, []).status, 7);
});

void test('the shell is replaced: a signal reaches the program itself', async (t) => {
  const { root, launcher } = install(t);
  writeFileSync(
    join(root, 'dist/run/tick-ingester.js'),
    "process.on('SIGTERM', () => process.exit(42)); console.log(process.pid); setInterval(() => {}, 1000);",
  );
  const child = spawn(launcher, [], { env: {}, stdio: ['ignore', 'pipe', 'inherit'] });
  const [pid] = (await once(child.stdout, 'data')) as [Buffer];
  t.equal(Number(pid.toString()), child.pid);
  child.kill('SIGTERM');
  const [code] = (await once(child, 'exit')) as [number];
  t.equal(code, 42);
});

void test("without the package's own Node, or with one too old, the one on PATH is taken", async (t) => {
  for (const node of [null, '/nonexistent/node', fakeNode(join(t.testdir(), 'old'), 'v20.20.2')]) {
    const { root, launcher } = install(t, { node });
    const onPath = join(dirname(root), 'path');
    const { stdout } = run(launcher, ['x'], {
      env: { PATH: `${dirname(fakeNode(onPath, 'v25.1.0'))}:/usr/bin:/bin` },
    });
    t.match(stdout, /^fake --disable-sigusr1 .*dist\/run\/tick-ingester\.js x\n$/, String(node));
  }
});

void test('a Node that is too old, or none, is said with what to do', async (t) => {
  const { root, launcher } = install(t, { node: null });
  const old = fakeNode(join(dirname(root), 'old'), 'v22.11.0');
  const tooOld = run(launcher, [], { env: { PATH: `${dirname(old)}:/usr/bin:/bin` } });
  t.equal(tooOld.status, 1);
  t.match(tooOld.stderr, /^tick-ingester: Node 24 is needed and .*\/old\/node is 22: run npm ci in /);
  const tools = join(dirname(root), 'tools');
  mkdirSync(tools);
  for (const tool of ['dirname', 'readlink'])
    symlinkSync(run('/bin/sh', ['-c', `command -v ${tool}`]).stdout.trim(), join(tools, tool));
  const none = run('/bin/sh', [launcher], { env: { PATH: tools } });
  t.equal(none.status, 1);
  t.match(none.stderr, /^tick-ingester: no Node 24: run npm ci in /);
});

void test('a package that is not built says which command builds it', async (t) => {
  const { root, launcher } = install(t, { built: false });
  const { status, stderr } = run(launcher, []);
  t.equal(status, 1);
  t.equal(
    stderr,
    `tick-ingester: ${root}/dist/run/tick-ingester.js is not built: run make build-ingester in ${root}\n`,
  );
});
