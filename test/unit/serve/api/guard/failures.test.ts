import { test } from 'tap';
import type { Clock } from '../../../../../src/core/time.ts';
import { FailedCredentials, networkOf } from '../../../../../src/serve/api/guard/failures.ts';

void test('so many a minute and address, then it waits', async (t) => {
  let ms = 0;
  const clock: Clock = { nowMicros: () => 0n, monotonicMs: () => ms };
  const failures = new FailedCredentials(3, clock);
  for (let at = 0; at < 3; at += 1) {
    t.equal(failures.waitSeconds('192.0.2.1'), 0);
    failures.add('192.0.2.1');
  }
  t.equal(failures.waitSeconds('192.0.2.1'), 60);
  t.equal(failures.waitSeconds('192.0.2.2'), 0, 'others do not');
  ms = 59_500;
  t.equal(failures.waitSeconds('192.0.2.1'), 1);
  ms = 60_000;
  t.equal(failures.waitSeconds('192.0.2.1'), 0);
  failures.add('192.0.2.1');
  t.equal(failures.waitSeconds('192.0.2.1'), 0, 'the count began anew');
});

void test('0 is no limit', async (t) => {
  const failures = new FailedCredentials(0, { nowMicros: () => 0n, monotonicMs: () => 0 });
  for (let at = 0; at < 100; at += 1) failures.add('::1');
  t.equal(failures.waitSeconds('::1'), 0);
});

void test('what one client can have counts as one', async (t) => {
  t.equal(networkOf('::ffff:192.0.2.1'), '192.0.2.1');
  t.equal(networkOf('2001:db8:1:2:3:4:5:6'), '2001:db8:1:2::/64');
  t.equal(networkOf('2001:0db8:0001:2::9'), '2001:db8:1:2::/64');
  t.equal(networkOf('2001:db8::5'), '2001:db8:0:0::/64');
  t.equal(networkOf('::1'), '0:0:0:0::/64');
  t.equal(networkOf('fe80::1%eth0'), 'fe80:0:0:0::/64');
});
