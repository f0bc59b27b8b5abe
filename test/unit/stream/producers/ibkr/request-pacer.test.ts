import { test } from 'tap';
import { REQUEST_SPACING_MS, RequestPacer } from '../../../../../src/stream/producers/ibkr/request-pacer.ts';
import { systemClock } from '../../../../../src/core/time.ts';

void test('requests go in order and never closer together than the spacing', async (t) => {
  const abort = new AbortController();
  const pacer = new RequestPacer(abort.signal, systemClock, 5);
  const sent: [number, number][] = [];
  await Promise.all(
    Array.from({ length: 20 }, (_, at) => pacer.send(() => sent.push([at, performance.now()]) > 0)),
  );
  t.strictSame(
    sent.map(([at]) => at),
    Array.from({ length: 20 }, (_, at) => at),
  );
  for (let at = 1; at < sent.length; at += 1) t.ok(sent[at][1] - sent[at - 1][1] >= 5);
  t.ok(Math.ceil(1000 / REQUEST_SPACING_MS) <= 45, 'so no second has more than 45');
});

void test('a hold keeps everything back, also what waits already', async (t) => {
  const abort = new AbortController();
  const pacer = new RequestPacer(abort.signal, systemClock, 1);
  await pacer.send(() => true);
  const began = performance.now();
  pacer.hold(30);
  let at = 0;
  await pacer.send(() => {
    at = performance.now();
    return true;
  });
  t.ok(at - began >= 30);
});

void test('nothing is sent after the end', async (t) => {
  const abort = new AbortController();
  const pacer = new RequestPacer(abort.signal, systemClock, 60_000);
  await pacer.send(() => true);
  const waiting = pacer.send(() => t.fail('sent'));
  abort.abort();
  await waiting;
  await pacer.send(() => t.fail('sent'));
  t.end();
});

void test('a turn that sends nothing costs no time', async (t) => {
  const abort = new AbortController();
  const pacer = new RequestPacer(abort.signal, systemClock, 60_000);
  for (let at = 0; at < 3; at += 1) await pacer.send(() => false);
  let sent = false;
  await pacer.send(() => {
    sent = true;
    return true;
  });
  t.ok(sent);
});
