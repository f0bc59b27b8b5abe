import { setImmediate as nextTurn } from 'node:timers/promises';
import { test } from 'tap';
import type { TickRange } from '../../../../src/core/ingest/ranges.ts';
import { until } from '../../../support/until.ts';
import { frame, harness, LIMITS, OUT_OF_RANGE, Refusal, settled, UNAVAILABLE } from './harness.ts';

const range = (first: bigint, last: bigint): TickRange => ({ first, last });
const ascending = (of: Iterable<bigint>): bigint[] => [...of].sort((a, b) => (a < b ? -1 : 1));
const numbers = (first: bigint, last: bigint): bigint[] =>
  Array.from({ length: Number(last - first) + 1 }, (_, at) => first + BigInt(at));

void test('short gaps: the lowest first, chunks in order, calls bounded', async (t) => {
  const h = harness(t, [range(3n, 12n), range(40n, 41n), range(90n, 90n)]);
  h.filler.start(h.gaps.list().map((gap) => ({ ...gap })));
  await settled(h);
  t.strictSame(h.taken(), [...numbers(3n, 12n), 40n, 41n, 90n]);
  t.strictSame(
    h.chunks.map((chunk) => chunk.length),
    [8, 5],
    'a chunk holds numbers of several gaps',
  );
  t.ok(h.server.mostUnderWay > 1 && h.server.mostUnderWay <= LIMITS.calls, `${h.server.mostUnderWay} calls`);
  t.same(h.server.asked.length, 13, 'each is asked for once');
  await until('the connection is closed when nothing is missing', () => h.server.closed > 0);
  h.gaps.add(range(100n, 100n));
  h.filler.add([range(100n, 100n)]);
  await settled(h);
  t.equal(h.connects(), 2);
  t.strictSame(h.filler.counts, { found: 14, missing: 0, failed: 0, streams: 0 });
});

void test('large ticks are asked for one by one, and end a chunk', async (t) => {
  const h = harness(t, [range(1n, 12n)], { chunkBytes: 2_000 });
  h.server.answer = (number) => frame(number, 900);
  h.filler.start([range(1n, 12n)]);
  await settled(h);
  t.ok(h.server.mostUnderWay <= 2, `${h.server.mostUnderWay} calls`);
  t.ok(h.chunks.every((chunk) => chunk.length <= 4));
});

void test('what the stream sends meanwhile is not asked for', async (t) => {
  const h = harness(t, [range(1n, 30n)], { longTicks: 1000 });
  const { promise, resolve: open } = Promise.withResolvers<void>();
  h.server.gate = promise;
  h.filler.start([range(1n, 30n)]);
  await until('the first calls are under way', () => h.server.asked.length > 0);
  h.gaps.remove(range(9n, 28n));
  h.server.gate = null;
  open();
  await settled(h);
  t.notOk(h.server.asked.some((number) => number > 8n && number < 29n));
});

void test('a ring without room: nothing more is asked for until it has taken the chunk', async (t) => {
  const h = harness(t, [range(1n, 20n)]);
  h.full.is = true;
  h.filler.start([range(1n, 20n)]);
  await until('a chunk is there', () => h.server.asked.length >= 8);
  for (let turn = 0; turn < 50; turn += 1) await nextTurn();
  t.equal(h.server.asked.length, 8);
  h.full.is = false;
  await settled(h);
  t.strictSame(h.taken(), numbers(1n, 20n));
});

void test('"not there" three times, with waits, gives a number up; its neighbours are filled at once', async (t) => {
  const h = harness(t, [range(1n, 5n)]);
  h.server.answer = (number) => (number === 3n ? null : frame(number));
  h.filler.start([range(1n, 5n)]);
  await until('it is reported', () => h.unfillable().length > 0);
  t.strictSame(h.unfillable(), [range(3n, 3n)]);
  t.equal(h.server.asked.filter((number) => number === 3n).length, 3);
  t.strictSame(h.taken(), [1n, 2n, 4n, 5n]);
  const [tried] = h.reports.flatMap((report) => report.tried);
  t.match(tried, { first: 3n, last: 3n, error: 'the sequencer does not have it' });
  t.ok(tried !== undefined && tried.waitMs > 0);
});

void test('a sequencer that lags behind what it has announced is waited for', async (t) => {
  const h = harness(t, [range(3n, 3n)]);
  h.server.answer = (number, nth) => (nth < 3 ? null : frame(number));
  h.filler.start([range(3n, 3n)]);
  await settled(h);
  t.strictSame(h.unfillable(), []);
});

void test('a number beyond the head is neither asked for nor given up', async (t) => {
  const h = harness(t, [range(8n, 12n)]);
  h.server.headAt = 9n;
  h.filler.start([range(8n, 12n)]);
  await until('what there is has come', () => h.taken().length === 2);
  await until('it says why', () =>
    h.reports.some(({ tried }) => tried.some(({ error }) => /head is 9/.test(error))),
  );
  t.strictSame(h.server.asked, [8n, 9n]);
  h.server.headAt = 20n;
  await settled(h);
  t.strictSame(h.taken(), numbers(8n, 12n));
});

void test('a head that falls back makes an answer "not there" prove nothing', async (t) => {
  const h = harness(t, [range(8n, 8n)]);
  h.server.answer = (number, nth) => {
    h.server.headAt = nth < 6 ? 7n : 20n;
    return nth < 7 ? null : frame(number);
  };
  h.filler.start([range(8n, 8n)]);
  const raising = setInterval(() => (h.server.headAt = 20n), 3);
  t.teardown(() => clearInterval(raising));
  await settled(h);
  t.strictSame(h.unfillable(), []);
});

void test('errors of single numbers are tried again without end and hold up nobody', async (t) => {
  const h = harness(t, [range(1n, 6n)]);
  h.server.answer = (number, nth) =>
    number === 2n && nth < 8 ? new Refusal(UNAVAILABLE, 'not now') : frame(number);
  h.filler.start([range(1n, 6n)]);
  await until('the others are filled', () => h.taken().length === 5);
  await settled(h);
  t.equal(h.server.asked.filter((number) => number === 2n).length, 8);
  t.equal(h.filler.counts.failed, 7);
  t.strictSame(h.unfillable(), []);
});

void test('another tick, or one that cannot be read, is no answer', async (t) => {
  const h = harness(t, [range(5n, 7n)]);
  h.server.answer = (number, nth) => {
    if (nth > 4) return frame(number);
    return number === 5n ? frame(6n) : number === 6n ? Uint8Array.of(0xff, 0xff) : frame(number);
  };
  h.filler.start([range(5n, 7n)]);
  await settled(h);
  await until('it is reported', () => h.reports.length > 0);
  const errors = new Set(h.reports.flatMap(({ tried }) => tried.map(({ error }) => error)));
  t.strictSame([...errors].sort(), [
    'GetTick answered with a tick that cannot be read',
    'GetTick answered with tick 6',
  ]);
  t.strictSame(ascending(h.taken()), [5n, 6n, 7n]);
});

void test('a sequencer that does not answer at all: few calls, one connection after the other, then all is filled', async (t) => {
  const h = harness(t, [range(1n, 12n)]);
  const down = new Refusal(UNAVAILABLE, 'connection refused');
  h.server.headAt = down;
  h.server.answer = () => down;
  h.filler.start([range(1n, 12n)]);
  await until('it has tried', () => h.connects() >= 4);
  t.ok(h.server.asked.length === 0, 'GetStatus is asked first');
  t.ok(h.server.closed >= 3);
  h.server.headAt = 100n;
  await until('the calls fail as well', () => h.server.asked.length >= 4);
  h.server.answer = (number) => frame(number);
  await settled(h);
  t.strictSame(h.unfillable(), []);
});

void test('a long gap comes from a stream, in chunks, paused while the ring is full', async (t) => {
  const h = harness(t, [range(100n, 199n)]);
  h.server.streamed = function* (start) {
    for (let number = start; number < 300n; number += 1n) yield frame(number);
  };
  h.full.is = true;
  h.filler.start([range(100n, 199n)]);
  await until('it is paused', () => h.server.paused > 0);
  for (let turn = 0; turn < 50; turn += 1) await nextTurn();
  t.equal(h.chunks.length, 0);
  h.full.is = false;
  await settled(h);
  t.strictSame(h.taken(), numbers(100n, 199n));
  t.ok(h.chunks.every((chunk) => chunk.length <= LIMITS.chunkTicks));
  t.strictSame(h.server.starts, [100n]);
  t.strictSame(h.server.asked, []);
  t.equal(h.filler.counts.streams, 1);
});

void test('short gaps have their turn while a long one is read', async (t) => {
  const h = harness(t, [range(100n, 299n), range(900n, 900n)]);
  h.server.streamed = function* (start) {
    for (let number = start; ; number += 1n) yield frame(number);
  };
  h.filler.start([range(100n, 299n), range(900n, 900n)]);
  await settled(h);
  const at = h.taken().indexOf(900n);
  t.ok(at > 20 && at < 60, `it came as number ${at}`);
  t.strictSame(ascending(h.taken()), [...numbers(100n, 299n), 900n]);
  t.equal(h.server.starts.length, 2);
});

void test('what that stream leaves out, spoils or sends out of order is asked for, or taken as it comes', async (t) => {
  const h = harness(t, [range(100n, 159n)]);
  h.server.streamed = function* (start) {
    for (let number = start; number < 200n; number += 1n) {
      if (number === 110n || number === 159n) continue;
      if (number === 120n) yield Uint8Array.of(0xff, 0xff);
      else if (number === 130n) yield* [frame(131n), frame(130n)];
      else if (number !== 131n) yield frame(number);
    }
  };
  h.filler.start([range(100n, 159n)]);
  await settled(h);
  t.strictSame(ascending(h.taken()), numbers(100n, 159n));
  t.strictSame(ascending(h.server.asked), [110n, 120n, 159n]);
  const unnumbered = h.chunks.flat().filter(({ number }) => number === null);
  t.strictSame(
    unnumbered.map(({ due }) => due),
    [120n],
  );
  const at = h.chunks.flat().findIndex(({ number }) => number === null);
  t.equal(h.chunks.flat()[at - 1]?.number, 119n, 'it keeps its place');
});

void test('a stream that is cut goes on where it was', async (t) => {
  const h = harness(t, [range(100n, 199n)]);
  h.server.streamed = (start) => numbers(start, start + 29n).map((number) => frame(number));
  h.server.streamEnd = { code: UNAVAILABLE, text: 'cut' };
  h.filler.start([range(100n, 199n)]);
  await settled(h);
  t.strictSame(h.taken(), numbers(100n, 199n));
  t.strictSame(h.server.starts, [100n, 130n, 160n]);
  t.equal(h.server.asked.length, 10, 'the short rest is asked for');
});

void test('a stream that falls silent is opened again from there, and then the rest is asked for', async (t) => {
  const h = harness(t, [range(100n, 149n)]);
  h.server.streamed = (start) => numbers(start, 119n).map((number) => frame(number));
  h.filler.start([range(100n, 149n)]);
  await settled(h);
  t.strictSame(ascending(new Set(h.taken())), numbers(100n, 149n));
  t.strictSame(h.server.starts, [100n, 120n]);
});

void test('a message too large for the stream costs its neighbours nothing', async (t) => {
  const h = harness(t, [range(100n, 149n)]);
  h.server.streamed = (start) => (start === 100n ? numbers(100n, 109n).map((number) => frame(number)) : []);
  h.server.streamEnd = { code: 8, text: 'Received message larger than max', isTooLarge: true };
  h.server.answer = (number) => (number === 110n ? new Refusal(8, 'larger than max', true) : frame(number));
  h.filler.start([range(100n, 149n)]);
  await until('all others are filled', () => h.taken().length === 49);
  t.strictSame(h.gaps.list(), [range(110n, 110n)]);
  t.strictSame(h.unfillable(), []);
});

void test('a server that limits us: fewer calls at once, a wait at each refusal, and all is filled', async (t) => {
  const h = harness(t, [range(1n, 60n)], { longTicks: 1000 });
  let budget = 0;
  let refused = 0;
  h.server.answer = (number) => {
    if (budget > 0) {
      budget -= 1;
      return frame(number);
    }
    refused += 1;
    return new Refusal(8, 'too many requests');
  };
  const refill = setInterval(() => (budget = 3), 10);
  t.teardown(() => clearInterval(refill));
  h.filler.start([range(1n, 60n)]);
  await settled(h);
  t.strictSame(ascending(new Set(h.taken())), numbers(1n, 60n));
  t.strictSame(h.unfillable(), []);
  t.ok(refused < h.taken().length, `${refused} calls were refused`);
  t.ok(h.connects() > 5, 'each refusal ends what was being asked');
  t.ok(h.filler.counts.failed > 0);
});

void test('a server that refuses everything: one call or stream at a time, each after a longer wait', async (t) => {
  for (const last of [12n, 400n]) {
    const h = harness(t, [range(1n, last)], { limited: { firstMs: 10, maxMs: 3_600_000 } });
    const refusal = { code: 8, text: 'too many subscriptions' };
    h.server.answer = () => new Refusal(8, refusal.text);
    h.server.streamed = () => refusal;
    const bornMs = performance.now();
    h.filler.start([range(1n, last)]);
    await until('it has asked several times', () => h.connects() >= 6);
    const requests = h.server.asked.length + h.server.starts.length;
    t.ok(requests <= h.connects() + LIMITS.calls, `${requests} requests in ${h.connects()} turns`);
    t.ok(
      performance.now() - bornMs >= 5 + 10 + 20 + 40 + 80 - 5,
      'each wait is longer than the one before it',
    );
    t.strictSame(h.unfillable(), []);
  }
});

void test('a long gap that is no longer kept: its end is found by streams, a sample proves it', async (t) => {
  const h = harness(t, [range(100n, 9_999_999n)]);
  h.server.headAt = 20_000_000n;
  const oldest = 9_999_980n;
  h.server.streamed = function* (start: bigint): Generator<Uint8Array> {
    for (let number = start; ; number += 1n) yield frame(number);
  };
  const streams = h.server.streamed;
  h.server.streamed = (start) => (start < oldest ? { code: OUT_OF_RANGE, text: 'too old' } : streams(start));
  h.server.answer = (number) => (number < oldest ? null : frame(number));
  h.filler.start([range(100n, 9_999_999n)]);
  await until('it is given up', () => h.unfillable().length > 0);
  t.strictSame(h.unfillable(), [range(100n, oldest - 1n)]);
  t.strictSame(h.taken(), numbers(oldest, 9_999_999n));
  t.ok(h.server.asked.length < 100, `${h.server.asked.length} calls`);
  t.ok(h.server.starts.length < 200, `${h.server.starts.length} streams`);
});

void test('a long gap that streams pass over and GetTick has: each number is asked for', async (t) => {
  const h = harness(t, [range(100n, 199n)]);
  h.server.streamed = () => [frame(200n)];
  h.filler.start([range(100n, 199n)]);
  await settled(h);
  t.strictSame(ascending(new Set(h.taken())), numbers(100n, 199n));
});

void test('a hole of 2^62 ticks costs nothing but what exists of it', async (t) => {
  const h = harness(t, [range(1n, 2n ** 62n)]);
  h.server.headAt = 30n;
  h.server.streamed = (start) => numbers(start, 30n).map((number) => frame(number));
  h.filler.start([range(1n, 2n ** 62n)]);
  await until('what exists has come', () => h.taken().length === 30);
  t.strictSame(h.taken(), numbers(1n, 30n));
  t.strictSame(h.server.starts, [1n]);
  t.strictSame(h.server.asked, []);
});

void test("stopped in the middle: what comes then is nobody's, and a new start begins anew", async (t) => {
  const h = harness(t, [range(1n, 10n)]);
  const { promise, resolve: open } = Promise.withResolvers<void>();
  h.server.gate = promise;
  h.filler.start([range(1n, 10n)]);
  await until('calls are under way', () => h.server.asked.length > 0);
  h.filler.stop();
  open();
  h.server.gate = null;
  for (let turn = 0; turn < 50; turn += 1) await nextTurn();
  t.strictSame(h.chunks, []);
  t.ok(h.server.closed > 0);
  h.filler.start([range(2n, 4n)]);
  await until('the new ones are filled', () => h.taken().length === 3);
  t.strictSame(h.taken(), [2n, 3n, 4n]);
});

void test('stopped while the ring is full and while a stream is read', async (t) => {
  const h = harness(t, [range(100n, 199n)]);
  h.server.streamed = (start) => numbers(start, 250n).map((number) => frame(number));
  h.full.is = true;
  h.filler.start([range(100n, 199n)]);
  await until('it is paused', () => h.server.paused > 0);
  h.filler.stop();
  for (let turn = 0; turn < 50; turn += 1) await nextTurn();
  t.strictSame(h.server.starts, [100n], 'nothing is opened again');
});
