import { readFileSync, statSync } from 'node:fs';
import type { Place } from './places.ts';

/** What the file says of one server, database and user. */
export type FoundPassword =
  | { password: string }
  /** why there is none, for people; null: there is no such file */
  | { password: null; reason: string | null };

/**
 * libpq's password file: lines of host:port:database:user:password, `*` for any, a backslash before `:` and `\`. The first
 * line that fits counts. One that others may read is passed over.
 */
export function readPasswordFile(
  path: string,
  { host, port }: Place,
  { database, user }: { database: string; user: string },
): FoundPassword {
  let text: string;
  try {
    const { mode } = statSync(path);
    if ((mode & 0o077) !== 0 && process.platform !== 'win32')
      return { password: null, reason: `${path} is passed over, as others may read it: chmod 0600` };
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const code = String((error as { code?: unknown }).code);
    return { password: null, reason: code === 'ENOENT' ? null : `${path} cannot be read (${code})` };
  }
  // a socket in its usual place counts as localhost
  const name = host.startsWith('/') && SOCKET_FOLDERS.has(host) ? 'localhost' : host;
  const wanted = [name, String(port), database, user];
  for (const line of text.split(/\r?\n/)) {
    if (line.startsWith('#')) continue;
    const fields = [...line.matchAll(/(?:^|:)((?:\\.|[^:\\])*)/g)].map(([, field]) => unescaped(field));
    if (fields.length < 5) continue;
    if (wanted.every((each, at) => fields[at] === '*' || fields[at] === each)) return { password: fields[4] };
  }
  return { password: null, reason: `${path} has no line for ${wanted.join(':')}` };
}

const SOCKET_FOLDERS = new Set(['/tmp', '/var/run/postgresql', '/run/postgresql']);

function unescaped(field: string): string {
  return field.replaceAll(/\\(.)/g, '$1');
}
