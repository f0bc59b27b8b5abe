import { createServer, type AddressInfo } from 'node:net';
import { test } from 'tap';
import { openFirst } from '../../../../../src/store/postgres/connecting/race.ts';
import { startSlowListener } from '../../../../support/servers/slow-listener.ts';

void test('the first address that answers is taken, whatever the others do', async (t) => {
  const server = createServer((socket) => socket.on('error', () => {}));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  const never = new AbortController().signal;
  const here = { host: '127.0.0.1', port };
  // a port that nobody listens on fails at once; 192.0.2.1 is of a network that is documentation alone, and answers never
  const refused = { host: '127.0.0.1', port: 1 };
  const silent = { host: '192.0.2.1', port };
  for (const places of [[here], [refused, here], [silent, here], [here, silent], [silent, refused, here]]) {
    const socket = await openFirst(places, never);
    t.equal(socket.remotePort, port, JSON.stringify(places));
    socket.destroy();
  }
  await t.rejects(openFirst([refused, { host: '127.0.0.1', port: 2 }], never), {
    code: 'ECONNREFUSED',
    port: 2,
  });

  const slow = await startSlowListener();
  t.teardown(() => slow.stop());
  const late = await openFirst([{ host: '127.0.0.1', port: slow.port }, refused], never);
  t.equal(late.remotePort, slow.port, 'one that takes a second');
  late.destroy();

  const aborted = new AbortController();
  const waiting = openFirst([{ host: '192.0.2.1', port }], aborted.signal);
  aborted.abort(new Error('enough'));
  await t.rejects(waiting, { message: /enough|ENETUNREACH|EHOSTUNREACH/ });
  await t.rejects(openFirst([here], AbortSignal.abort(new Error('before'))), { message: 'before' });
});
