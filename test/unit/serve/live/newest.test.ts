import { test } from 'tap';
import { NewestTicks } from '../../../../src/serve/live/ticks/newest.ts';
import type { StoredTick } from '../../../../src/store/live/ticks.ts';
import type { Clock } from '../../../../src/core/time.ts';

let nowMs = 0;
const clock: Clock = { nowMicros: () => 0n, monotonicMs: () => nowMs };

function tick(provider: string, ts: bigint, seq = 0n): StoredTick {
  return { provider, symbol: 'SPY', ts, seq, price: 1, size: null, bid: null, ask: null, side: null };
}

/** What is known of SPY, of a provider or of all. */
const known = (newest: NewestTicks, provider: string | null): string | null =>
  newest.get(provider, 'SPY')?.json ?? null;

void test('nothing is certain before the table was asked while a hub follows', async (t) => {
  const newest = new NewestTicks(clock);
  newest.confirm(newest.asking(), 'a', 'SPY', tick('a', 5n), 'table');
  t.equal(known(newest, 'a'), null, 'no hub');
  const before = newest.asking();
  newest.begin();
  newest.confirm(before, 'a', 'SPY', tick('a', 5n), 'table');
  t.equal(known(newest, 'a'), null, 'asked before the hub began');
  newest.note(tick('a', 3n), 'bus');
  t.equal(known(newest, 'a'), null, 'the table may have a newer one');
  newest.confirm(newest.asking(), 'a', 'SPY', tick('a', 5n), 'table');
  t.equal(known(newest, 'a'), 'table');
  t.equal(known(newest, null), null, 'of all providers nobody has asked');
});

void test('the later one stays: by time, provider and seq, whatever the order in which they come', async (t) => {
  const newest = new NewestTicks(clock);
  newest.begin();
  newest.note(tick('b', 7n, 2n), 'b2');
  newest.confirm(newest.asking(), null, 'SPY', tick('a', 7n, 9n), 'a9');
  t.equal(known(newest, null), 'b2');
  newest.note(tick('b', 7n, 3n), 'b3');
  newest.note(tick('b', 6n, 9n), 'late');
  t.equal(known(newest, null), 'b3');
});

void test('the table is asked again after five seconds, and when the hub lost its place', async (t) => {
  const newest = new NewestTicks(clock);
  newest.begin();
  const asked = newest.asking();
  newest.confirm(asked, 'a', 'SPY', tick('a', 5n), 'table');
  nowMs += 5_000;
  t.equal(known(newest, 'a'), 'table');
  nowMs += 1;
  t.equal(known(newest, 'a'), null);
  newest.confirm(asked, 'a', 'SPY', tick('a', 4n), 'older');
  t.equal(known(newest, 'a'), 'table', 'what the hub saw is kept');
  newest.end();
  newest.begin();
  newest.confirm(asked, 'a', 'SPY', tick('a', 5n), 'table');
  t.equal(known(newest, 'a'), null, 'an answer of before');
});
