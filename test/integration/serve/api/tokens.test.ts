import { test } from 'tap';
import { registerTokens } from '../../../../src/run/cli/tokens/tokens.ts';
import { serveApi } from '../../../prove/api/program.ts';
import { withClient } from '../../../support/bus/postgres-bus.ts';
import { runInProcess } from '../../../support/run/command-in-process.ts';
import { sharedPostgres } from '../../../support/servers/postgres.ts';
import { until } from '../../../support/until.ts';

void test('a token of mdp tokens opens what its scopes say, its use is noted, and revoked it opens nothing', async (t) => {
  const server = await sharedPostgres();
  t.teardown(() => server.stop());
  const databaseUrl = await server.createDatabase(undefined, { schema: false });
  const api = await serveApi(databaseUrl, { settings: 'api:\n  auth_failures: 0\n' });
  t.teardown(() => api.stop());
  const register = (program: Parameters<typeof registerTokens>[0]): void =>
    registerTokens(program, { databaseUrl });
  const mdp = async (...args: string[]): Promise<string> => {
    const { code, out, err } = await runInProcess(register, 'tokens', ...args);
    t.equal(code, 0, err);
    return out.trim();
  };
  const token = await mdp('create', 'reader', '--scope', 'read');
  const status = async (path: string, method = 'GET'): Promise<number> => {
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
    return (await api.ask({ method, path, headers, ...(method === 'GET' ? {} : { body: '[]' }) })).status;
  };
  await until('it is known', async () => (await status('/v1/symbols')) === 200);
  t.equal(await status('/ingest/tick', 'POST'), 403);
  await until('its use is noted', () =>
    withClient(databaseUrl, async (client) => {
      const { rows } = await client.query<{ at: unknown }>('SELECT last_used_at AS at FROM api_tokens');
      return rows[0]?.at !== null;
    }),
  );
  await mdp('revoke', 'reader');
  await until('it is refused', async () => (await status('/v1/symbols')) === 401);
  t.notOk(api.lines.some((line) => line.includes(token.slice(4, 20))));
});
