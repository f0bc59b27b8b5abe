import fc from 'fast-check';
import { test } from 'tap';
import { VerifyPlan, type VerifyTask } from '../../../../../src/core/chain/verify/plan.ts';

function size({ first, last }: VerifyTask): number {
  return Number(last - first) + 1;
}

void test('pages grow while they are small and quick, and shrink when they are not', async (t) => {
  const plan = new VerifyPlan({ first: 0n, last: 10_000_000n });
  const next = (bytesPerTick: number, msPerTick: number): number => {
    const page = plan.take()!;
    plan.measured(page, size(page) * bytesPerTick, size(page) * msPerTick);
    return size(page);
  };
  t.strictSame(
    Array.from({ length: 6 }, () => next(100, 0.001)),
    [256, 1024, 4096, 16_384, 16_384, 16_384],
    'at most four times the last one',
  );
  next(1e5, 0.001);
  t.equal(next(1e5, 0.001), 83, '8 MiB');
  next(100, 50);
  t.equal(next(100, 50), 256, 'half a second, but no less than this');
  next(1e9, 0);
  t.equal(next(1e9, 0), 1);
});

void test('a page that is too large comes again in parts', async (t) => {
  const plan = new VerifyPlan({ first: 1n, last: 300n });
  const page = plan.take()!;
  t.strictSame(page, { kind: 'page', first: 1n, last: 256n });
  plan.split(page);
  const parts: VerifyTask[] = [];
  for (let task = plan.take(); task !== null; task = plan.take()) parts.push(task);
  t.equal(parts.length, 8 + 2);
  t.strictSame([parts[0].first, parts.at(-1)!.last], [1n, 300n]);
});

void test('every number is given out exactly once, whatever is stored', async () => {
  const steps = fc.array(
    fc.record({
      stored: fc.option(fc.bigInt(1n, 6_000n)),
      bytes: fc.nat(20_000_000),
      outcome: fc.constantFrom('good', 'empty', 'too_large', 'no_hole'),
    }),
    { maxLength: 60 },
  );
  fc.assert(
    fc.property(fc.bigInt(0n, 40n), fc.bigInt(0n, 5_000n), steps, (first, length, steps) => {
      const last = first + length;
      const plan = new VerifyPlan({ first, last });
      const seen = new Set<bigint>();
      const underWay: VerifyTask[] = [];
      let at = 0;
      for (;;) {
        const task = plan.take();
        if (task !== null) underWay.push(task);
        if (task !== null && underWay.length < 3) continue;
        const done = underWay.shift();
        if (done === undefined) break;
        const step = steps[at++] ?? { stored: null, bytes: 1, outcome: 'good' };
        if (step.outcome === 'too_large' && done.kind === 'page' && done.first !== done.last) {
          plan.split(done);
          continue;
        }
        if (step.outcome === 'no_hole' && done.kind === 'hole') {
          plan.recut(done);
          continue;
        }
        if (done.kind === 'page') plan.measured(done, step.bytes, 1);
        if (done.kind === 'page' && step.outcome === 'empty' && (step.stored ?? done.last + 1n) > done.last) {
          plan.passed(done.last, step.stored);
        }
        for (let n = done.first; n <= done.last; n++) {
          if (seen.has(n)) return false;
          seen.add(n);
        }
      }
      return BigInt(seen.size) === length + 1n && seen.has(first) && seen.has(last);
    }),
  );
});
