import { test, type Test } from 'tap';
import type { Env } from '../../../../src/core/env.ts';
import { systemClock } from '../../../../src/core/time.ts';
import { Refetcher, type RefetchLimits } from '../../../../src/ingest/leader/refetcher.ts';
import { until } from '../../../support/until.ts';
import { FakeServer, frame, Refusal, UNAVAILABLE } from '../gaps/harness.ts';

const LIMITS: RefetchLimits = {
  missesMax: 4,
  firstMs: 5,
  missWaits: { firstMs: 2, maxMs: 20 },
  failureWaits: { firstMs: 2, maxMs: 20 },
  calls: 4,
  chunkBytes: 1 << 20,
  numbersMax: 5,
  chunk: 3,
  paceMs: 1,
  lingerMs: 5,
  backoff: { firstMs: 2, maxMs: 10 },
  limited: { firstMs: 10, maxMs: 3_600_000 },
};

interface Opened {
  refetcher: Refetcher;
  server: FakeServer;
  /** numbers that the store has as dead letters alone */
  dead: Set<bigint>;
  /** whether an answer is good */
  good: (number: bigint, nth: number) => boolean;
  logged: Record<string, unknown>[];
  times: (number: bigint) => number;
}

function open(t: Test, dead: bigint[] = []): Opened {
  const server = new FakeServer();
  const logged: Record<string, unknown>[] = [];
  const env: Env = {
    log: (_level, message, fields) => void logged.push({ message, ...fields }),
    clock: systemClock,
    random: () => 0.5,
  };
  const times = (number: bigint): number => server.asked.filter((one) => one === number).length;
  const opened: Opened = {
    server,
    dead: new Set(dead),
    good: () => true,
    logged,
    times,
    refetcher: new Refetcher(LIMITS, env, {
      connect: () => server,
      readDeadNumbers: async () => [...opened.dead].sort((a, b) => (a < b ? -1 : 1)),
      fetched: async (frames) => {
        for (const { number } of frames) if (opened.good(number, times(number))) opened.dead.delete(number);
        return frames.map(({ number }) => number).filter((number) => opened.dead.has(number));
      },
    }),
  };
  t.teardown(() => opened.refetcher.stop());
  return opened;
}

void test('what the store has is asked for at once, what is committed later after a wait', async (t) => {
  const { refetcher, server, dead } = open(t, [3n, 4n, 9n]);
  refetcher.start();
  await until('all are good', () => dead.size === 0);
  t.strictSame(server.asked, [3n, 4n, 9n]);
  dead.add(12n);
  refetcher.add([12n]);
  await until('it is good', () => dead.size === 0);
  t.strictSame(server.asked, [3n, 4n, 9n, 12n]);
  await until('the connection is closed when nothing is left', () => server.closed > 0);
});

void test('one that is bad again and again is asked for some times, and then no more', async (t) => {
  const opened = open(t, [3n, 4n, 5n]);
  const { refetcher, dead, logged, times } = opened;
  opened.good = (number, nth) => number === 4n && nth === 3;
  opened.server.answer = (number) => (number === 5n ? null : frame(number));
  refetcher.start();
  await until('two are given up', () => logged.reduce((sum, { ticks }) => sum + Number(ticks), 0) === 2);
  t.strictSame([...dead], [3n, 5n]);
  t.strictSame([3n, 4n, 5n].map(times), [LIMITS.missesMax, 3, LIMITS.missesMax]);
});

void test('a sequencer that is away costs no attempts; one that fails at a number does', async (t) => {
  const opened = open(t, [3n]);
  const { refetcher, server, dead, logged, times } = opened;
  const away = new Refusal(UNAVAILABLE, 'away');
  server.headAt = away;
  server.answer = () => away;
  refetcher.start();
  await until('it was asked often', () => times(3n) > 3 * LIMITS.missesMax);
  t.strictSame(logged, []);
  server.headAt = 100n;
  await until('it is given up', () => logged.length === 1);
  t.match(logged[0], { ticks: 1, first_tick: 3n, last_tick: 3n });
  t.ok(dead.has(3n));
});

void test('"not there" of a sequencer whose head is below the number costs no attempts', async (t) => {
  const { refetcher, server, dead, logged, times } = open(t, [30n]);
  server.headAt = 29n;
  server.answer = () => null;
  refetcher.start();
  await until('it was asked often', () => times(30n) > 3 * LIMITS.missesMax);
  t.strictSame(logged, []);
  server.answer = (number) => frame(number);
  await until('it is there once the sequencer has caught up', () => dead.size === 0);
});

void test('no more wait than may; a number is asked for once at a time', async (t) => {
  const { refetcher, server, dead } = open(t);
  for (let number = 1n; number <= 9n; number += 1n) dead.add(number);
  refetcher.start();
  refetcher.add([1n, 2n, 2n]);
  await until('five are good', () => dead.size === 4);
  t.strictSame(server.asked, [1n, 2n, 3n, 4n, 5n]);
});

void test('a sequencer that limits us is asked after growing waits, and no number is given up', async (t) => {
  const { refetcher, server, dead, logged } = open(t, [3n, 4n, 5n, 6n, 7n]);
  let isLimited = true;
  server.answer = (number) => (isLimited ? new Refusal(8, 'too many requests') : frame(number));
  const bornMs = performance.now();
  refetcher.start();
  await until('it has asked several times', () => server.closed >= 5);
  const waitedMs = 7.5 + 15 + 30 + 60;
  t.ok(performance.now() - bornMs >= waitedMs - 5, 'each wait is longer than the one before it');
  t.ok(server.asked.length <= 5 + 4, `${server.asked.length} calls`);
  isLimited = false;
  await until('all are there', () => dead.size === 0);
  t.strictSame(logged, []);
});
