import type { Client } from 'pg';
import { connectDurable, Session } from './postgres/session.ts';
import { isoSeconds, microsOf } from './postgres/time-sql.ts';
import { inTransaction } from './postgres/transaction.ts';

/** A token that may be used, as the API compares it. */
export interface ValidToken {
  id: number;
  name: string;
  /** SHA-256 of the token, 32 bytes */
  hash: Buffer;
  scopes: string[];
  /** µs since 1970; null: never */
  expiresAt: bigint | null;
}

/** A token for people: nothing of its value. Times are ISO-8601 in UTC. */
export interface TokenInfo {
  id: number;
  name: string;
  scopes: string[];
  state: 'valid' | 'expired' | 'revoked';
  created_at: string;
  expires_at: string | null;
  revoked_at: string | null;
  last_used_at: string | null;
}

export interface NewToken {
  name: string;
  /** SHA-256 of the token, 32 bytes */
  hash: Buffer;
  scopes: readonly string[];
  /** null: it never expires */
  lifeMs: number | null;
}

/** Valid tokens in all: every request is compared with each. */
export const TOKENS_MAX = 1_000;
/** Of one name: the one in use, and the one that follows it. */
export const TOKENS_OF_NAME_MAX = 2;

/** Why a token was not made. */
export type TokenRefusal = { refused: 'name'; valid: TokenInfo[] } | { refused: 'all' };

const IS_VALID = 'revoked_at IS NULL AND (expires_at IS NULL OR expires_at > clock_timestamp())';
const ANSWER_MS_MAX = 10_000;
/** A token's last use is written when the stored one is older than this. */
const TOUCHED_FOR = "interval '50 seconds'";

/** Makes a token, unless there are as many as may be. Rejects with the server's error. */
export function createToken(client: Client, token: NewToken): Promise<TokenInfo | TokenRefusal> {
  return inTransaction(client, async () => {
    // two that are made at once would not count each other
    await client.query('LOCK TABLE api_tokens IN SHARE ROW EXCLUSIVE MODE');
    const valid = await select(client, IS_VALID, []);
    if (valid.length >= TOKENS_MAX) return { refused: 'all' as const };
    const ofName = valid.filter(({ name }) => name === token.name);
    if (ofName.length >= TOKENS_OF_NAME_MAX) return { refused: 'name' as const, valid: ofName };
    const { rows } = await client.query<{ id: string }>(
      `INSERT INTO api_tokens (name, hash, scopes, expires_at)
       VALUES ($1, $2, $3, clock_timestamp() + $4::float8 * interval '1 millisecond') RETURNING id`,
      [token.name, token.hash, token.scopes, token.lifeMs],
    );
    const [made] = await select(client, 'id = $1', [rows[0]?.id]);
    return made;
  });
}

/** The newest first; those that cannot be used any more only when asked for. */
export function listTokens(client: Client, isAll: boolean): Promise<TokenInfo[]> {
  return select(client, isAll ? 'true' : IS_VALID, []);
}

/** Ends tokens at once. Returns those that were valid until now. */
export async function revokeTokens(client: Client, ids: readonly number[]): Promise<TokenInfo[]> {
  const { rows } = await client.query<{ id: string }>(
    `UPDATE api_tokens SET revoked_at = clock_timestamp() WHERE id = ANY ($1::bigint[]) AND ${IS_VALID} RETURNING id`,
    [ids],
  );
  return select(client, 'id = ANY ($1::bigint[])', [rows.map(({ id }) => id)]);
}

async function select(client: Client, where: string, values: readonly unknown[]): Promise<TokenInfo[]> {
  const { rows } = await client.query<Omit<TokenInfo, 'id'> & { id: string }>(
    `SELECT id, name, scopes,
            CASE WHEN revoked_at IS NOT NULL THEN 'revoked' WHEN ${IS_VALID} THEN 'valid' ELSE 'expired' END AS state,
            ${['created_at', 'expires_at', 'revoked_at', 'last_used_at'].map((time) => `${isoSeconds(time)} AS ${time}`).join(', ')}
       FROM api_tokens WHERE ${where} ORDER BY api_tokens.id DESC`,
    [...values],
  );
  return rows.map(({ id, ...rest }) => ({ id: Number(id), ...rest }));
}

/** What the API needs of the tokens, on a session of its own. Rejects with ConnectError or the server's error. */
export class ApiTokens {
  readonly #session: Session;

  constructor({ dbUri, applicationName }: { dbUri: string; applicationName: string }) {
    this.#session = new Session(() => connectDurable(dbUri, applicationName), ANSWER_MS_MAX);
  }

  /** Those that may be used now. */
  readValid(): Promise<ValidToken[]> {
    return this.#session.run(async (client) => {
      const { rows } = await client.query<{
        id: string;
        name: string;
        hash: Buffer;
        scopes: string[];
        us: string | null;
      }>(
        `SELECT id, name, hash, scopes, ${microsOf('expires_at')} AS us FROM api_tokens
          WHERE ${IS_VALID} ORDER BY api_tokens.id LIMIT ${TOKENS_MAX}`,
      );
      return rows.map(({ id, us, ...rest }) => ({
        id: Number(id),
        ...rest,
        expiresAt: us === null ? null : BigInt(us),
      }));
    });
  }

  /** Notes that they were used. */
  async touch(ids: readonly number[]): Promise<void> {
    await this.#session.run((client) =>
      client.query(
        `UPDATE api_tokens SET last_used_at = clock_timestamp() WHERE id = ANY ($1::bigint[])
            AND (last_used_at IS NULL OR last_used_at < clock_timestamp() - ${TOUCHED_FOR})`,
        [ids],
      ),
    );
  }

  close(): Promise<void> {
    return this.#session.close();
  }
}
