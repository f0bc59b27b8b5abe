import { test } from 'tap';
import type { Clock } from '../../../../src/core/time.ts';
import { Chain, type ChainOptions } from '../../../../src/sim/chain/chain.ts';
import type { TickSource } from '../../../../src/sim/source/source.ts';

/** Numbers 100, 101, …; `size` of them. */
function sourceOf(size: number): TickSource {
  const indexFrom = (number: bigint): number => Math.min(size, Math.max(0, Number(number) - 100));
  return {
    chunkTicks: 512,
    size,
    numberAt: (index) => 100n + BigInt(index),
    indexFrom,
    indexOf: indexFrom,
    transactionsBefore: () => 0n,
    chunk: () => Promise.reject(new Error('not asked for here')),
    prefetch: () => {},
    close: () => Promise.resolve(),
  };
}

function chainOf(options: Partial<ChainOptions>, size = 1e6): { chain: Chain; clock: { ms: number } } {
  const at = { ms: 5000 };
  const clock: Clock = { nowMicros: () => 0n, monotonicMs: () => at.ms };
  const all = { head: 10, rate: 0, limit: null, history: Infinity, ...options };
  return { chain: new Chain(sourceOf(size), all, clock), clock: at };
}

/** Someone who waits; `leave` ends it. */
function waiter(): {
  over: boolean;
  onClose: (listener: () => void) => () => void;
  leave: () => void;
  listeners: number;
} {
  const listeners = new Set<() => void>();
  return {
    over: false,
    onClose(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    leave() {
      this.over = true;
      for (const listener of listeners) listener();
    },
    get listeners() {
      return listeners.size;
    },
  };
}

void test('ticks come to exist by the clock, up to the limit', async (t) => {
  const { chain, clock } = chainOf({ rate: 3000, limit: 4000n });
  t.equal(chain.count(), 10);
  clock.ms += 1;
  t.equal(chain.count(), 13);
  clock.ms += 999;
  t.equal(chain.count(), 3010);
  clock.ms += 1000;
  t.equal(chain.count(), 3901, 'the numbers 100 to 4000');
  t.equal(chain.finalCount(), 3901);
});

void test('without a rate the head is the end; a source may have less', async (t) => {
  t.equal(chainOf({}).chain.finalCount(), 10);
  t.equal(chainOf({ head: 50 }, 20).chain.count(), 20);
  t.equal(chainOf({ head: 50, limit: 119n }).chain.count(), 20);
  t.equal(chainOf({ head: 50, limit: 5n }).chain.count(), 0);
});

void test('only so much history is served', async (t) => {
  const { chain, clock } = chainOf({ rate: 1000, history: 100 });
  t.equal(chain.oldest(), 0);
  clock.ms += 500;
  t.equal(chain.oldest(), 410);
});

void test('whoever waits for a tick goes on when it exists', async (t) => {
  const { chain, clock } = chainOf({ rate: 1000 });
  const one = waiter();
  const grown = chain.grown(20, one);
  clock.ms += 11;
  await grown;
  t.equal(chain.count(), 21);
  t.equal(one.listeners, 0, 'and leaves nothing behind');
  await chain.grown(20, one);
});

void test('whoever waits goes on when it is over, or when the chain forks', async (t) => {
  const { chain } = chainOf({});
  const [one, two] = [waiter(), waiter()];
  const grown = chain.grown(10, one);
  const other = chain.grown(10, two);
  one.leave();
  await grown;
  t.equal(two.listeners, 1, 'the other one still waits');
  chain.fork(4);
  await other;
  t.equal(chain.branch, 1);
  t.equal(chain.count(), 4);
});

void test('after a fork the head grows from the new one', async (t) => {
  const { chain, clock } = chainOf({ rate: 1000 });
  clock.ms += 1000;
  t.equal(chain.count(), 1010);
  chain.fork(800);
  t.equal(chain.count(), 800);
  clock.ms += 10;
  t.equal(chain.count(), 810);
});
