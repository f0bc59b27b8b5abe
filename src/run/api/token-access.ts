import { createHash, timingSafeEqual } from 'node:crypto';
import { SCOPES, type AccessControl, type Principal } from '../../serve/api/access.ts';

const EVERYTHING: ReadonlySet<(typeof SCOPES)[number]> = new Set(SCOPES);

/** API_TOKEN alone. */
export class TokenAccess implements AccessControl {
  readonly isOpen: boolean;
  readonly anonymous: Principal = { name: 'anonymous', scopes: EVERYTHING };
  readonly #digest: Buffer | null;

  constructor(token: string | null) {
    this.isOpen = token === null;
    this.#digest = token === null ? null : digest(token);
  }

  authenticate(token: string): Principal | null {
    if (this.#digest === null || !timingSafeEqual(digest(token), this.#digest)) return null;
    return { name: 'API_TOKEN', scopes: EVERYTHING };
  }
}

function digest(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
