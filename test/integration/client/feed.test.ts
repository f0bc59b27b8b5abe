import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { test, type Test } from 'tap';
import { createClient } from '../../../src/client/exports.ts';
import { seededRandom } from '../../support/random.ts';
import { TcpProxy } from '../../support/servers/proxy.ts';
import { until } from '../../support/until.ts';

/** Events with the ids 1, 2, 3, …: what follows the id that is asked for, some of it again, as fast as it is taken. */
class Source {
  readonly connections: { after: string | undefined }[] = [];
  /** of the newest connection */
  sentBytes = 0;
  #server = createServer((request, response) => {
    const after = request.headers['last-event-id'] as string | undefined;
    this.connections.push({ after });
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    void this.#send(response, Math.max(1, Number(after ?? 0) - 2));
  });

  async #send(response: ServerResponse, from: number): Promise<void> {
    this.sentBytes = 0;
    for (let id = from; !response.destroyed; id += 1) {
      const text = `id: ${id}\nevent: tick\ndata: {"symbol":"A","seq":"${id}","pad":"${'x'.repeat(200)}"}\n\n`;
      this.sentBytes += text.length;
      if (!response.write(text)) await Promise.race([once(response, 'drain'), once(response, 'close')]);
      else if (id % 50 === 0) await turn();
    }
  }

  async start(t: Test): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    t.after(() => {
      this.#server.closeAllConnections();
      this.#server.close();
    });
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }
}

void test('cut fifty times in the middle of whatever is under way, it hands out each event once and in order', async (t) => {
  const random = seededRandom();
  t.comment(`SEED=${random.seed}`);
  const source = new Source();
  const proxy = await TcpProxy.start(await source.start(t), random);
  t.after(() => proxy.stop());
  const client = createClient({ url: `http://${proxy.address}` });
  let expected = 1n;
  let nextCut = BigInt(random.whole(1, 500));
  for await (const event of client.live({ topic: 'ticks' })) {
    if ('loss' in event) throw new Error(`no loss was sent: ${event.event}`);
    if (event.item.seq !== expected) t.equal(event.item.seq, expected);
    expected += 1n;
    if (event.item.seq < nextCut) continue;
    if (source.connections.length > 50) break;
    proxy.cutAll();
    nextCut = event.item.seq + BigInt(random.whole(1, 500));
  }
  t.ok(expected > 50n, `${expected - 1n} events over ${source.connections.length} connections`);
});

void test('who takes nothing is sent no more than fits between them', async (t) => {
  const source = new Source();
  const client = createClient({ url: `http://${await source.start(t)}` });
  const live = client.live({ topic: 'ticks', silenceMsMax: 60_000 });
  await live.next();
  let before = -1;
  await until(
    'the server stands still',
    () => {
      const standsStill = before === source.sentBytes;
      before = source.sentBytes;
      return standsStill;
    },
    { pollMs: 200 },
  );
  const MiB = 1024 * 1024;
  t.ok(before < 32 * MiB, `${(before / MiB).toFixed(1)} MiB in buffers of the system`);
  for (let at = 0; at < 1000; at += 1) await live.next();
  const event = await live.next();
  t.match(event, { done: false, value: { id: '1002' } }, 'nothing is missing afterwards');
  await live.return();
  t.equal(source.connections.length, 1, 'a reader that is slow is no cut');
});
