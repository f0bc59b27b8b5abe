import { test, type Test } from 'tap';
import { StageLifecycle } from '../../../src/stream/stage.ts';

interface Watched {
  stage: StageLifecycle;
  work: PromiseWithResolvers<void>;
  /** what finish() was told, each time */
  finished: (Error | null)[];
  begun: () => number;
}

function watched(finish: () => Promise<void> = () => Promise.resolve()): Watched {
  const work = Promise.withResolvers<void>();
  const finished: (Error | null)[] = [];
  let begun = 0;
  const stage = new StageLifecycle(
    () => {
      begun += 1;
      stage.stopping.addEventListener('abort', () => work.resolve());
      return work.promise;
    },
    (error) => {
      finished.push(error);
      return finish();
    },
  );
  return { stage, work, finished, begun: () => begun };
}

void test('work that is done ends the stage after finish(), and runs once', async (t: Test) => {
  const { stage, work, finished, begun } = watched();
  await stage.start();
  await stage.start();
  work.resolve();
  await stage.done;
  await stage.start();
  t.same([begun(), finished], [1, [null]]);
});

void test('stop() ends the work, and waits for finish(), however often it is called', async (t: Test) => {
  const { stage, finished } = watched();
  await stage.start();
  await Promise.all([stage.stop(), stage.stop()]);
  await stage.done;
  t.same(finished, [null]);
});

void test('stop() before start(): nothing runs', async (t: Test) => {
  const { stage, finished, begun } = watched();
  await stage.stop();
  await stage.start();
  await stage.done;
  t.same([begun(), finished], [0, []]);
});

void test('work that fails is told to finish() and rejects `done`; stop() still resolves', async (t: Test) => {
  const { stage, work, finished } = watched();
  await stage.start();
  const failure = new Error('no');
  work.reject(failure);
  await t.rejects(stage.done, failure);
  await stage.stop();
  t.same(finished, [failure]);
});

void test('a finish() that fails rejects `done`, unless the stage was stopped', async (t: Test) => {
  const alone = watched(() => Promise.reject(new Error('finish')));
  await alone.stage.start();
  alone.work.resolve();
  await t.rejects(alone.stage.done, new Error('finish'));
  const stopped = watched(() => Promise.reject(new Error('finish')));
  await stopped.stage.start();
  await stopped.stage.stop();
  await t.resolves(stopped.stage.done);
});
