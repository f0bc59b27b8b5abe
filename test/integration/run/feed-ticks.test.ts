import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { test, type Test } from 'tap';
import { envOf } from '../../../src/core/env.ts';
import { NO_PROVIDERS } from '../../../src/core/market/identity/providers.ts';
import type { WebhookTick } from '../../../src/core/market/webhook-tick.ts';
import { ingestRoutes } from '../../../src/serve/api/routes/ingest.ts';
import { buildApi } from '../../../src/serve/api/server.ts';
import { TcpProxy } from '../../support/servers/proxy.ts';

const EXAMPLE = fileURLToPath(new URL('../../../examples/feed_ticks.py', import.meta.url));
const SECRET = 'a secret that only the feeder and the server know';

function noPython(): false | string {
  try {
    execFileSync('python3', ['-c', ''], { stdio: 'ignore' });
    return false;
  } catch {
    return 'no python3';
  }
}

interface Intake {
  accept(ticks: readonly WebhookTick[]): Promise<void>;
}

/** A server that takes ticks signed with SECRET. @returns its address */
async function serve(t: Test, intake: Intake): Promise<string> {
  const nobody = { name: 'anonymous', scopes: new Set<never>() };
  const app = await buildApi({
    access: { isOpen: false, anonymous: nobody, authenticate: () => null },
    routes: [ingestRoutes(intake, NO_PROVIDERS)],
    version: '0',
    env: envOf(),
    signatureKeys: new Map([['feeder', SECRET]]),
  });
  await app.listen({ host: '127.0.0.1', port: 0 });
  t.after(() => app.close());
  return `127.0.0.1:${(app.server.address() as AddressInfo).port}`;
}

async function feed(
  address: string,
  secret: string,
  lines: readonly string[],
): Promise<{ code: number; out: string; err: string }> {
  const child = spawn(
    'python3',
    [EXAMPLE, '--url', `http://${address}`, '--key', 'feeder', '--source', 'mine'],
    {
      env: { ...process.env, INGEST_SECRET: secret },
      stdio: ['pipe', 'pipe', 'pipe'],
    },
  );
  child.stdin.end(`symbol,ts,price,volume,seq\n${lines.join('\n')}\n`);
  const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
  return { code: code as number, out, err };
}

void test('the feeder in Python', { skip: noPython() }, async (t) => {
  await t.test(
    'each tick is accepted, with its digits, over a bus that is full and a connection that is cut',
    async (t) => {
      const accepted: WebhookTick[] = [];
      let requests = 0;
      let proxy: TcpProxy | null = null;
      const address = await serve(t, {
        accept: async (ticks) => {
          requests += 1;
          if (requests === 2) throw Object.assign(new Error('full'), { kind: 'full' });
          accepted.push(...ticks);
          // it has them, and the feeder does not hear of it
          if (requests === 4) proxy?.cutAll();
        },
      });
      proxy = await TcpProxy.start(address);
      t.after(() => proxy?.stop());
      const lines = Array.from(
        { length: 450 },
        (_, at) => `BTC,2026-11-28T10:00:00.${String(at).padStart(6, '0')}Z,110000.10,0.0250,${at % 7}`,
      );
      const { code, out, err } = await feed(proxy.address, SECRET, lines);
      t.equal(code, 0, err);
      t.equal(out, '450 ticks accepted\n');
      t.match(err, /waiting 5\.0 s: status 503/, 'as long as the server asked for');
      t.equal(new Set(accepted.map(({ eventId }) => eventId)).size, 450);
      t.equal(accepted.length, 550, 'the batch that was not answered came twice');
      t.match(accepted[0], { symbol: 'BTC', price: '110000.10', volume: '0.0250', source: 'mine', seq: 0n });
    },
  );

  await t.test('a mistake, and a wrong secret, end it with the server’s words', async (t) => {
    const address = await serve(t, { accept: () => Promise.reject(new Error('nothing comes here')) });
    const mistake = await feed(address, SECRET, ['BTC,soon,1,1,']);
    t.not(mistake.code, 0);
    t.match(mistake.err, /refused with 400: .*body\[0\]\.ts/);
    const stranger = await feed(address, 'another', ['BTC,2026-11-28T10:00:00Z,1,1,']);
    t.match(stranger.err, /refused with 401/);
    t.notMatch(stranger.err, /another/);
  });
});
