import { homedir, userInfo } from 'node:os';
import { join } from 'node:path';

/** The user whose process this is, by name; null: it has no entry in /etc/passwd, as arbitrary uids of containers have none. */
export function systemUser(): string | null {
  try {
    return userInfo().username;
  } catch {
    return null;
  }
}

/** A file below the home folder; null: there is none (no HOME, no entry in /etc/passwd). */
export function homeFile(...path: string[]): string | null {
  try {
    return join(homedir(), ...path);
  } catch {
    return null;
  }
}
