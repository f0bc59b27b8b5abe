import { test } from 'tap';
import { RestartedWorker, workerFile } from '../../../src/ingest/worker.ts';
import { until } from '../../support/until.ts';

/** Says what it was born with; ends by an error or, told so, in good order. */
const PROGRAM = `
import { parentPort, workerData } from 'node:worker_threads';
parentPort.on('message', (message) => {
  if (message === 'die') throw new Error('told to die');
  if (message === 'stop') parentPort.close();
});
parentPort.postMessage(workerData);`;
const FILE = new URL(`data:text/javascript,${encodeURIComponent(PROGRAM)}`);

interface Opened {
  worker: RestartedWorker<string, number>;
  born: number[];
  deaths: { error: string; waitMs: number }[];
  restarts: string[];
  /** what the next threads seem to live, ms */
  life: { ms: number };
}

function open(waitMs = (deaths: number): number => deaths + 1): Opened {
  const born: number[] = [];
  const deaths: Opened['deaths'] = [];
  const restarts: string[] = [];
  const life = { ms: 0 };
  let starts = 0;
  let nowMs = 0;
  const worker = new RestartedWorker<string, number>({
    file: FILE,
    name: 'tested',
    clock: { nowMicros: () => 0n, monotonicMs: () => (nowMs += life.ms) },
    data: () => (starts += 1),
    message: (message) => born.push(message),
    died: (failure, waitMs) => deaths.push({ error: failure.message, waitMs }),
    restarted: (failure) => restarts.push(failure.message),
    waitMs,
  });
  return { worker, born, deaths, restarts, life };
}

void test('a thread that dies is told of and started again, each time later', async (t) => {
  const { worker, born, deaths, restarts } = open();
  for (const nth of [1, 2, 3]) {
    await until(`thread ${nth} lives`, () => born.length === nth);
    worker.post('die');
  }
  await until('the fourth one lives', () => born.length === 4);
  t.same(born, [1, 2, 3, 4], 'each has data of its own');
  t.same(
    deaths,
    [1, 2, 3].map((waitMs) => ({ error: 'told to die', waitMs })),
  );
  t.same(restarts, ['told to die', 'told to die', 'told to die']);
  await worker.terminate();
});

void test('after a long life the wait is short again', async (t) => {
  const { worker, born, deaths, life } = open();
  for (const nth of [1, 2]) {
    await until(`thread ${nth} lives`, () => born.length === nth);
    worker.post('die');
  }
  await until('the third one lives', () => born.length === 3);
  life.ms = 100_000;
  worker.post('die');
  await until('it died', () => deaths.length === 3);
  t.same(
    deaths.map(({ waitMs }) => waitMs),
    [1, 2, 1],
  );
  await worker.terminate();
});

void test('a thread that is stopped is not started again, whether it goes by itself, has to be ended, or is away', async (t) => {
  const asked = open();
  await until('it lives', () => asked.born.length === 1);
  await asked.worker.stop('stop', {});
  const deaf = open();
  await until('it lives', () => deaf.born.length === 1);
  await deaf.worker.stop('unknown', { ms: 10 });
  const told = open();
  await until('it lives', () => told.born.length === 1);
  await told.worker.stop('unknown', { done: Promise.resolve() });
  const away = open(() => 60_000);
  await until('it lives', () => away.born.length === 1);
  away.worker.post('die');
  await until('it died', () => away.deaths.length === 1);
  await away.worker.stop('stop', {});
  for (const { deaths, restarts } of [asked, deaf, told]) t.same([deaths, restarts], [[], []]);
  t.same(away.restarts, []);
});

void test('a worker lies beside its thread file, with the same ending', async (t) => {
  t.equal(workerFile('file:///a/src/b.ts', 'c/d').href, 'file:///a/src/c/d.worker.ts');
  t.equal(workerFile('file:///a/dist/b.js', 'd').href, 'file:///a/dist/d.worker.js');
});
