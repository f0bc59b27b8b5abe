import dns from 'node:dns';
import { test } from 'tap';
import { RedisConnection } from '../../../../src/bus/redis/connection.ts';
import { envOf } from '../../../../src/core/env.ts';
import { startSlowListener } from '../../../support/servers/slow-listener.ts';

void test('of a name with a slow address and one that cannot be reached, the slow one is waited for', async (t) => {
  const lookup = dns.lookup;
  t.teardown(() => Object.assign(dns, { lookup }));
  Object.assign(dns, {
    lookup: (_name: string, _options: unknown, done: (error: null, found: dns.LookupAddress[]) => void) =>
      done(null, [
        { address: '127.0.0.1', family: 4 },
        { address: '100::1', family: 6 }, // nobody has it: RFC 6666
      ]),
  });
  const listener = await startSlowListener();
  t.teardown(() => listener.stop());
  const uri = `redis://far.example:${listener.port}`;
  const connection = new RedisConnection({ uri, tls: undefined, name: 'test', env: envOf({}) });
  const asked = connection.run(5000, (client) => client.ping());
  // it says nothing, so an end can only be a failure to connect
  await Promise.race([listener.reached, asked]);
  connection.close();
  await t.rejects(asked);
});
