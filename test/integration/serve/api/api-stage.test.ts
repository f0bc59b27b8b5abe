import { createServer, type AddressInfo } from 'node:net';
import { once } from 'node:events';
import { test, type Test } from 'tap';
import { envOf } from '../../../../src/core/env.ts';
import { ApiStage } from '../../../../src/serve/api/api-stage.ts';
import { TokenAccess } from '../../../../src/serve/api/guard/token-access.ts';
import type { Routes } from '../../../../src/serve/api/server.ts';
import { ask } from '../../../support/api/server.ts';
import { until } from '../../../support/until.ts';

interface Served {
  stage: ApiStage;
  port(): Promise<number>;
  isClosed: () => boolean;
}

function stageWith(t: Test, routes: Routes, port = 0): Served {
  let address: string | null = null;
  let closed = false;
  const env = envOf({ log: (_level, _message, fields) => (address ??= fields['address'] as string) });
  const table = { readValid: () => Promise.resolve([]), touch: () => Promise.resolve() };
  const stage = new ApiStage({
    host: '127.0.0.1',
    port,
    access: new TokenAccess({ tokens: [], table, env }),
    routes: [routes],
    version: '0',
    env,
    close: () => Promise.resolve(void (closed = true)),
  });
  t.teardown(() => stage.stop());
  const portOf = async (): Promise<number> =>
    Number(new URL(await until('it is served', () => address)).port);
  return { stage, port: portOf, isClosed: () => closed };
}

void test('a request in hand is answered when the stage ends, and what it needs is closed after it', async (t) => {
  const entered = Promise.withResolvers<void>();
  const gate = Promise.withResolvers<void>();
  const served = stageWith(t, (api) => {
    api.get('/slow', { config: { scope: 'read' } }, async () => {
      entered.resolve();
      await gate.promise;
      return { isOpen: !served.isClosed() };
    });
  });
  await served.stage.start();
  const answer = ask(await served.port(), { path: '/slow' });
  await entered.promise;
  const stopped = served.stage.stop();
  t.notOk(served.isClosed());
  gate.resolve();
  const { status, text } = await answer;
  t.strictSame([status, text], [200, '{"isOpen":true}']);
  await stopped;
  t.ok(served.isClosed());
});

void test('a request that does not end does not keep the stage', async (t) => {
  const entered = Promise.withResolvers<void>();
  const served = stageWith(t, (api) => {
    api.get('/endless', { config: { scope: 'read' } }, async () => {
      entered.resolve();
      return new Promise<never>(() => {});
    });
  });
  await served.stage.start();
  const cut = t.rejects(ask(await served.port(), { path: '/endless' }));
  await entered.promise;
  await served.stage.stop();
  await cut;
});

void test('a port that is taken is told with what to change', async (t) => {
  const other = createServer().listen(0, '127.0.0.1');
  t.teardown(() => other.close());
  await once(other, 'listening');
  const served = stageWith(t, () => {}, (other.address() as AddressInfo).port);
  await served.stage.start();
  await t.rejects(served.stage.done, {
    name: 'ApiPortError',
    message: /^API_PORT \d+ of 127\.0\.0\.1 is taken/,
  });
});
