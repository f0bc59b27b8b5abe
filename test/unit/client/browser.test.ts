import { execFile } from 'node:child_process';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { test } from 'tap';

void test('works where there is nothing of Node', async (t) => {
  const tick = `{"kind":"market","symbol":"BTC","ts":"2026-01-01T00:00:00.000001Z","seq":"18446744073709551615"}`;
  const server = createServer(({ url }, response) => {
    if (url?.startsWith('/v1/stream') === true)
      response.setHeader('content-type', 'text/event-stream').write(`id: 7\nevent: tick\ndata: ${tick}\n\n`);
    else if (url?.includes('NONE') === true)
      response.writeHead(404).end('{"error":{"code":"not_found","message":"none","request_id":"r"}}');
    else response.end(`{"items":[${tick}],"next":null}`);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const program = fileURLToPath(new URL('in-browser.ts', import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, [
    '--experimental-vm-modules',
    '--no-warnings',
    program,
    `http://127.0.0.1:${port}`,
  ]);
  t.equal(stdout, '18446744073709551615 1767225600000001 7 not_found\n');
});
