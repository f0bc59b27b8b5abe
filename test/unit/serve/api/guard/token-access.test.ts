import { createHash } from 'node:crypto';
import { test } from 'tap';
import { envOf } from '../../../../../src/core/env.ts';
import {
  TokenAccess,
  type KnownToken,
  type TokenTable,
} from '../../../../../src/serve/api/guard/token-access.ts';
import { until } from '../../../../support/until.ts';

function known(id: number, token: string, traits: Partial<KnownToken> = {}): KnownToken {
  const hash = createHash('sha256').update(token).digest();
  return { id, name: `t${id}`, hash, scopes: ['read'], expiresAt: null, ...traits };
}

class Table implements TokenTable {
  tokens: KnownToken[] = [];
  isAway = false;
  reads = 0;
  readonly touched: number[][] = [];

  readValid(): Promise<KnownToken[]> {
    this.reads += 1;
    return this.isAway ? Promise.reject(new Error('away')) : Promise.resolve(this.tokens);
  }

  touch(ids: readonly number[]): Promise<void> {
    this.touched.push([...ids]);
    return Promise.resolve();
  }
}

void test('tokens of the variable and of the table, and none that is like them', async (t) => {
  const table = new Table();
  table.tokens = [known(1, 'alpha', { scopes: ['ingest', 'unheard-of'] })];
  const access = new TokenAccess({ tokens: ['first', 'second'], table, reloadMs: 20, env: envOf() });
  await access.start();
  t.teardown(() => access.close());
  t.notOk(access.isOpen);
  for (const token of ['first', 'second']) t.equal(access.authenticate(token)?.name, 'API_TOKEN');
  t.strictSame(access.authenticate('alpha'), { name: 't1', scopes: new Set(['ingest']) });
  for (const token of ['', 'firs', 'first ', 'FIRST', 'alpha\0', 'first,second'])
    t.equal(access.authenticate(token), null, JSON.stringify(token));
});

void test('what is revoked is refused after the next reading, also when the database was away in between', async (t) => {
  const table = new Table();
  table.tokens = [known(1, 'alpha'), known(2, 'beta')];
  const lines: string[] = [];
  const env = envOf({ log: (_level, message) => lines.push(message) });
  const access = new TokenAccess({ tokens: [], table, reloadMs: 20, env });
  t.ok(access.isOpen);
  await access.start();
  t.teardown(() => access.close());
  table.isAway = true;
  const { reads } = table;
  await until('it has tried twice', () => table.reads >= reads + 2);
  t.equal(access.authenticate('alpha')?.name, 't1', 'it goes by what it knew');
  t.equal(lines.filter((line) => line.includes('cannot be read')).length, 1, 'said once');
  table.isAway = false;
  table.tokens = [known(2, 'beta')];
  await until('it is refused', () => access.authenticate('alpha') === null);
  t.equal(access.authenticate('beta')?.name, 't2');
});

void test('a token ends at its time, whether or not the table can be read', async (t) => {
  let micros = 1_000_000n;
  const table = new Table();
  table.tokens = [known(1, 'alpha', { expiresAt: 2_000_000n })];
  const env = envOf({ clock: { nowMicros: () => micros, monotonicMs: () => performance.now() } });
  const access = new TokenAccess({ tokens: [], table, reloadMs: 20, env });
  await access.start();
  t.teardown(() => access.close());
  t.equal(access.authenticate('alpha')?.name, 't1');
  micros = 2_000_000n;
  t.equal(access.authenticate('alpha'), null);
});

void test('its use is noted once a minute, and not by the request', async (t) => {
  let ms = 0;
  const table = new Table();
  table.tokens = [known(1, 'alpha'), known(2, 'beta')];
  const env = envOf({ clock: { nowMicros: () => 0n, monotonicMs: () => ms } });
  const access = new TokenAccess({ tokens: [], table, reloadMs: 20, env });
  await access.start();
  t.teardown(() => access.close());
  for (let at = 0; at < 100; at += 1) access.authenticate('alpha');
  t.strictSame(table.touched, []);
  await until('it is noted', () => table.touched.length > 0);
  access.authenticate('alpha');
  const { reads } = table;
  await until('it has been read again', () => table.reads > reads + 1);
  t.strictSame(table.touched, [[1]]);
  ms = 60_000;
  access.authenticate('alpha');
  await until('it is noted again', () => table.touched.length > 1);
  t.strictSame(table.touched, [[1], [1]]);
});

void test('a token that was made a moment ago is known soon after it was shown', async (t) => {
  const table = new Table();
  const access = new TokenAccess({ tokens: [], table, reloadMs: 3_600_000, env: envOf() });
  await access.start();
  t.teardown(() => access.close());
  table.tokens = [known(1, 'alpha')];
  await until('it is known', () => access.authenticate('alpha') !== null);
  const { reads } = table;
  for (let at = 0; at < 1_000; at += 1) access.authenticate(`guess-${at}`);
  t.equal(table.reads, reads, 'guesses share a reading');
});
