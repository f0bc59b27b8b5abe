import { test } from 'tap';
import { WakeableWait } from '../../../src/core/wait.ts';

const HOUR_MS = 3_600_000;

/** Whether it is over once everything that is due now has run. */
async function isOver(wait: Promise<void>): Promise<boolean> {
  let over = false;
  void wait.then(() => (over = true));
  await new Promise(setImmediate);
  return over;
}

/** Timers that keep the process alive. */
function timers(): number {
  return process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
}

void test('ends by itself', async (t) => {
  const pause = new WakeableWait();
  await pause.wait(1);
  t.notOk(await isOver(pause.wait(Infinity)), 'and another one can begin');
  pause.wake();
});

void test('ends early when it is woken, and leaves no timer behind', async (t) => {
  const pause = new WakeableWait();
  const before = timers();
  const waiting = pause.wait(HOUR_MS);
  t.equal(timers(), before + 1);
  t.notOk(await isOver(waiting));
  pause.wake();
  await waiting;
  t.equal(timers(), before);
});

void test('without an end it has no timer, and only wake() ends it', async (t) => {
  const pause = new WakeableWait();
  const before = timers();
  const waiting = pause.wait(Infinity);
  t.equal(timers(), before);
  t.notOk(await isOver(waiting));
  pause.wake();
  await waiting;
});

void test('a wake() while nobody waits is not remembered', async (t) => {
  const pause = new WakeableWait();
  pause.wake();
  const waiting = pause.wait(HOUR_MS);
  t.notOk(await isOver(waiting));
  pause.wake();
  pause.wake();
  await waiting;
  const next = pause.wait(HOUR_MS);
  t.notOk(await isOver(next), 'nor is a second one');
  pause.wake();
});
