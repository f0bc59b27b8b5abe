import { createHash, randomBytes } from 'node:crypto';
import { test } from 'tap';
import {
  ApiTokens,
  createToken,
  listTokens,
  revokeTokens,
  type NewToken,
} from '../../../src/store/api-tokens.ts';
import { migrateAll, withClient } from '../../support/bus/postgres-bus.ts';
import { sharedPostgres } from '../../support/servers/postgres.ts';

function newToken(name: string, traits: Partial<NewToken> = {}): NewToken {
  const hash = createHash('sha256').update(randomBytes(32)).digest();
  return { name, hash, scopes: ['read'], lifeMs: null, ...traits };
}

void test('tokens are made, read, noted as used, and end', async (t) => {
  const server = await sharedPostgres();
  t.teardown(() => server.stop());
  const url = await server.createDatabase(undefined, { schema: false });
  await migrateAll(url);
  const tokens = new ApiTokens({ dbUri: url, applicationName: 'test' });
  t.teardown(() => tokens.close());
  await withClient(url, async (client) => {
    const kept = newToken('feeder', { scopes: ['read', 'ingest'] });
    const made = await createToken(client, kept);
    if ('refused' in made) throw new Error('refused');
    t.match(made, {
      name: 'feeder',
      scopes: ['read', 'ingest'],
      state: 'valid',
      expires_at: null,
      last_used_at: null,
    });

    const short = await createToken(client, newToken('short', { lifeMs: 3_600_000 }));
    if ('refused' in short) throw new Error('refused');
    const [read, expiring] = await tokens.readValid();
    t.strictSame(read, {
      id: made.id,
      name: 'feeder',
      hash: kept.hash,
      scopes: ['read', 'ingest'],
      expiresAt: null,
    });
    const lifeMs = Number((expiring.expiresAt ?? 0n) / 1000n) - Date.now();
    t.ok(lifeMs > 3_500_000 && lifeMs < 3_700_000, `${lifeMs} ms are left`);

    await tokens.touch([made.id]);
    const [first] = (await listTokens(client, false)).filter(({ id }) => id === made.id);
    t.type(first.last_used_at, 'string');
    const before = await client.query('SELECT last_used_at FROM api_tokens WHERE id = $1', [made.id]);
    await tokens.touch([made.id]);
    t.strictSame(
      (await client.query('SELECT last_used_at FROM api_tokens WHERE id = $1', [made.id])).rows,
      before.rows,
      'written once a minute',
    );

    await client.query(
      `UPDATE api_tokens SET expires_at = clock_timestamp() - interval '1 second' WHERE id = $1`,
      [short.id],
    );
    t.strictSame(
      (await revokeTokens(client, [short.id])).length,
      0,
      'what has expired is not revoked as well',
    );
    t.strictSame(
      (await revokeTokens(client, [made.id])).map(({ state }) => state),
      ['revoked'],
    );
    t.strictSame(await tokens.readValid(), []);
    t.strictSame(
      (await listTokens(client, true)).map(({ name, state }) => [name, state]),
      [
        ['short', 'expired'],
        ['feeder', 'revoked'],
      ],
    );
  });
});

void test('a name has two valid tokens at most, however many are made at once', async (t) => {
  const server = await sharedPostgres();
  t.teardown(() => server.stop());
  const url = await server.createDatabase(undefined, { schema: false });
  await migrateAll(url);
  const made = await Promise.all(
    Array.from({ length: 6 }, () => withClient(url, (client) => createToken(client, newToken('x')))),
  );
  const good = made.filter((token) => !('refused' in token));
  t.equal(good.length, 2);
  for (const token of made)
    if ('refused' in token && token.refused === 'name')
      t.equal(token.valid.length, 2, 'it is told which two');
  await withClient(url, async (client) => {
    const [{ id }] = good as { id: number }[];
    await revokeTokens(client, [id]);
    t.notOk('refused' in (await createToken(client, newToken('x'))), 'one less makes room');
  });
});
