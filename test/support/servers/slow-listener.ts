import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

/** Listens on 127.0.0.1 as if it were far away: nobody is let in before a second is over. */
export interface SlowListener {
  port: number;
  /** resolves when a client that got in has sent something */
  reached: Promise<void>;
  stop(): Promise<void>;
}

// its event loop stands still while its backlog is full: the kernel drops what comes, and the client repeats it after 1 s
const PROGRAM = `
  const server = require('node:net').createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => console.log('reached'));
  });
  server.listen({ host: '127.0.0.1', port: 0, backlog: 1 }, () => {
    process.stdout.write(server.address().port + '\\n', () => {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 700);
    });
  });`;

export async function startSlowListener(): Promise<SlowListener> {
  const child = spawn(process.execPath, ['-e', PROGRAM], { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout });
  const reached = Promise.withResolvers<void>();
  const [first] = (await once(lines, 'line')) as [string];
  lines.on('line', () => reached.resolve());
  const port = Number(first);
  const fillers: Socket[] = Array.from({ length: 4 }, () => connect(port, '127.0.0.1').on('error', () => {}));
  await once(fillers[1], 'connect'); // two are in: it is full
  return {
    port,
    reached: reached.promise,
    async stop() {
      for (const socket of fillers) socket.destroy();
      child.kill('SIGKILL');
      await once(child, 'close');
    },
  };
}
