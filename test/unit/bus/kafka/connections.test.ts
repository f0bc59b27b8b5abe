import { createServer, type AddressInfo, type Socket } from 'node:net';
import { once } from 'node:events';
import { ConnectionPool } from '@platformatic/kafka';
import { test } from 'tap';
import { BrokerConnections } from '../../../../src/bus/kafka/connections.ts';
import { until } from '../../../support/until.ts';

void test('close() ends the connections that the client has forgotten, too', async (t) => {
  const sockets: Socket[] = [];
  const server = createServer((socket) => sockets.push(socket.on('error', () => {})));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const broker = { nodeId: 1, host: '127.0.0.1', port: (server.address() as AddressInfo).port, rack: null };
  const connections = new BrokerConnections(() => new ConnectionPool('test', {}), 1_000);
  const first = await connections.to(broker);
  await until('the server has it', () => sockets.length === 1);
  first.emit('error', new Error('cut'));
  const second = await connections.to(broker);
  t.not(second, first);
  await until('the server has both', () => sockets.length === 2);
  const closed = once(first, 'close');
  sockets[0].destroy();
  await closed;
  t.not(await connections.to(broker), second, 'the client has forgotten it');
  await until('the server has all three', () => sockets.length === 3);
  await connections.close();
  for (const socket of sockets) socket.resume();
  await until('none is open', () => sockets.every(({ destroyed }) => destroyed), { deadlineMs: 5_000 });
});
