// Preloaded into the daemon by tests (node --import): ends one of its worker threads when the test says so. The program
// itself knows nothing of it.
import { isMainThread } from 'node:worker_threads';

if (isMainThread) {
  const workers = new Map();
  let count = 0;
  process.on('worker', (worker) => {
    const id = (count += 1);
    workers.set(id, worker);
    worker.once('exit', () => workers.delete(id));
  });
  process.on('message', ({ kill }) => {
    for (const worker of workers.values()) {
      if (!nameOf(worker).startsWith(kill)) continue;
      void worker.terminate();
      return;
    }
  });
  process.channel?.unref();
}

/** Piscina's threads have no name of ours. */
function nameOf(worker) {
  const name = worker.threadName ?? '';
  return name === '' || name === 'WorkerThread' ? 'parser' : name;
}
