import { test } from 'tap';
import { ServerClock } from '../../../src/core/server-clock.ts';

class FakeClock {
  wallMicros = 1_000_000_000n;
  ms = 500;
  nowMicros = (): bigint => this.wallMicros;
  monotonicMs = (): number => this.ms;
  pass(ms: number): void {
    this.ms += ms;
    this.wallMicros += BigInt(ms * 1000);
  }
}

void test('the time of a server goes on between its answers, whatever is done to the clock of the machine', (t) => {
  const own = new FakeClock();
  const clock = new ServerClock(own);
  t.equal(clock.nowMicros(), own.wallMicros, 'until it has answered');
  t.equal(clock.aheadMs, null);
  own.pass(100);
  clock.observe(7_000_000n, own.ms - 100);
  t.equal(clock.nowMicros(), 7_050_000n, 'it answered half of the way ago');
  own.pass(1_000);
  own.wallMicros -= 3_600_000_000n;
  t.equal(clock.nowMicros(), 8_050_000n);
  t.equal(clock.aheadMs, Number(own.wallMicros - 8_050_000n) / 1000);
  t.end();
});

void test('a difference of more than a minute is told once, and so is its end', (t) => {
  const own = new FakeClock();
  const clock = new ServerClock(own);
  const lines: unknown[] = [];
  const tell = (aheadSeconds: number): void =>
    clock.tell(own.wallMicros - BigInt(aheadSeconds * 1_000_000), own.ms, (level, _message, fields) =>
      lines.push([level, fields['ahead_seconds']]),
    );
  for (const seconds of [0, 59, -61, -300, -61, 10, 61]) tell(seconds);
  t.same(lines, [
    ['warn', -61],
    ['info', 10],
    ['warn', 61],
  ]);
  t.end();
});
