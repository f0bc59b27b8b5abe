import { chmod, mkdir, mkdtemp, readFile, readdir, readlink, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test, type Test } from 'tap';
import { embeddedBinaries, unreachableAncestor } from '../../../../src/store/embedded/binaries.ts';

const isRoot = process.getuid?.() === 0;
const nobody = { uid: 65_534, gid: 65_534 };

/** A package that only looks like the real one: three files and a link that npm's script has not made. */
async function fakePackage(t: Test, mode: number): Promise<{ version: string; native: string }> {
  const native = await mkdtemp(join(tmpdir(), 'fake-native-'));
  t.teardown(() => rm(native, { recursive: true, force: true }));
  await mkdir(join(native, 'bin'));
  await mkdir(join(native, 'lib'));
  await writeFile(join(native, 'bin', 'initdb'), `#!/bin/sh\n# ${native}\n`, { mode: 0o755 });
  await writeFile(join(native, 'bin', 'postgres'), `#!/bin/sh\n# ${native}\n`, { mode: 0o755 });
  await writeFile(join(native, 'lib', 'libx.so.1.2'), 'x');
  await writeFile(join(native, 'lib', 'libx.a'), 'not needed to run');
  const links = [{ source: 'native/lib/libx.so.1.2', target: 'native/lib/libx.so.1' }];
  await writeFile(join(native, 'pg-symlinks.json'), JSON.stringify(links));
  await chmod(native, mode);
  // the version is part of the copy's name: a name of this test's own
  const version = `0.0.0-test.${native.slice(-6)}`;
  t.teardown(async () => {
    const copies = (await readdir(tmpdir())).filter((name) => name.includes(version));
    for (const name of copies) await rm(join(tmpdir(), name), { recursive: true, force: true });
  });
  return { version, native };
}

async function homeOf(
  t: Test,
  source: { version: string; native: string },
  user: typeof nobody | null,
): Promise<string> {
  const { postgres, initdb } = await embeddedBinaries(user, source);
  const home = dirname(dirname(postgres));
  t.equal(dirname(dirname(initdb)), home);
  return home;
}

void test('links that the install script did not make are made in a copy', async (t) => {
  const source = await fakePackage(t, 0o755);
  const home = await homeOf(t, source, null);
  t.not(home, source.native);
  t.equal(await readlink(join(home, 'lib', 'libx.so.1')), 'libx.so.1.2');
  t.equal(await readFile(join(home, 'lib', 'libx.so.1'), 'utf8'), 'x');
  await t.rejects(stat(join(home, 'lib', 'libx.a')));
  t.equal((await stat(join(home, 'bin', 'postgres'))).mode & 0o777, 0o755);
  t.equal((await stat(home)).mode & 0o777, 0o755);
  t.equal(await homeOf(t, source, null), home, 'the second start uses the same copy');
});

void test('a copy that lost a file is replaced, one that others can write to is not used', async (t) => {
  const source = await fakePackage(t, 0o755);
  const home = await homeOf(t, source, null);
  await rm(join(home, 'bin', 'initdb'));
  t.equal(await homeOf(t, source, null), home);
  t.ok(await stat(join(home, 'bin', 'initdb')), 'whole again');
  await chmod(home, 0o777);
  const after = await homeOf(t, source, null);
  t.equal((await stat(after)).mode & 0o022, 0);
});

void test(
  'as root, programs that the server user cannot read are copied',
  { skip: isRoot ? false : 'needs root' },
  async (t) => {
    const source = await fakePackage(t, 0o700);
    t.equal(unreachableAncestor(source.native, nobody), source.native);
    const home = await homeOf(t, source, nobody);
    t.not(home, source.native);
    t.equal(unreachableAncestor(home, nobody), null);
  },
);

void test('the installed package is found and its programs exist', async (t) => {
  const { version, postgres, initdb } = await embeddedBinaries(null);
  t.match(version, /^\d+\.\d+/);
  t.ok((await stat(postgres)).mode & 0o100);
  t.ok((await stat(initdb)).mode & 0o100);
});
