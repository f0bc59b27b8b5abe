import { test } from 'tap';
import { envOf } from '../../../../src/core/env.ts';
import { normalise } from '../../../../src/core/market/normalise.ts';
import { systemClock } from '../../../../src/core/time.ts';
import type { DeliveredTick } from '../../../../src/stream/ticks/batch.ts';
import { TickCollisions } from '../../../../src/stream/ticks/collisions.ts';
import { TestMeter } from '../../../support/bus/meter.ts';

let position = 0;

function delivered(event: Record<string, unknown>, at = (position += 1)): DeliveredTick {
  const tick = normalise({
    provider: 'p',
    symbol: 'SPY',
    kind: 'tick',
    price: 1,
    src_ts: '2025-10-24T14:02:01.123Z',
    ...event,
  });
  if (tick.kind !== 'tick') throw new Error('no tick');
  const delivery = {
    topic: 'mdp.events',
    partition: 0,
    position: `${at}-0`,
    takenMs: 0,
    key: null,
    eventId: null,
    encoding: 'json' as const,
    data: new Uint8Array(0),
    attempts: 1,
  };
  return { tick, delivery };
}

function tracker(): {
  collisions: TickCollisions;
  clock: { ms: number };
  logged: Record<string, unknown>[];
  count: () => number;
} {
  const clock = { ms: 0 };
  const logged: Record<string, unknown>[] = [];
  const meter = new TestMeter();
  const env = envOf({
    clock: { ...systemClock, monotonicMs: () => clock.ms },
    log: (level, message, fields) => logged.push({ level, message, ...fields }),
  });
  const count = (): number => [...meter.values.values()].reduce((sum, value) => sum + value, 0);
  return { collisions: new TickCollisions(env, meter), clock, logged, count };
}

void test('trades of one time that nothing tells apart are counted, and told of at once with what to do', async (t) => {
  const { collisions, logged, count } = tracker();
  const [first, same, other] = [delivered({}), delivered({}), delivered({ price: 2 })];
  collisions.settled([first], []);
  t.strictSame([count(), logged], [0, []]);
  collisions.settled([same, other], [{ ...other, reason: 'conflict', detail: '' }]);
  t.equal(count(), 2);
  t.strictSame(logged, [
    {
      level: 'warn',
      message: 'Trades share a key: their provider sends neither seq nor trade_id',
      provider: 'p',
      dead_letters: 1,
      taken_for_repetitions: 1,
      example: 'p|SPY|2025-10-24T14:02:01.123000Z|0',
      do: 'send seq or trade_id, or declare providers: { p: { identity: content } }, see docs/events.md',
    },
  ]);
});

void test('once a minute, with all that came meanwhile, also when nothing comes any more', async (t) => {
  const { collisions, clock, logged } = tracker();
  const repeats = (): void => collisions.settled([delivered({}), delivered({})], []);
  repeats();
  clock.ms = 59_999;
  repeats();
  collisions.tell();
  t.equal(logged.length, 1);
  clock.ms = 60_000;
  collisions.tell();
  collisions.tell();
  t.strictSame(
    logged.map((line) => line['taken_for_repetitions']),
    [1, 2],
  );
});

void test('what is delivered again is no collision, and neither is a number that was sent', async (t) => {
  const { collisions, logged, count } = tracker();
  const again = delivered({});
  collisions.settled([again], []);
  collisions.settled([delivered({}, Number.parseInt(again.delivery.position))], []);
  for (const numbers of [{ seq: 0 }, { trade_id: 7 }])
    collisions.settled([delivered(numbers), delivered(numbers)], []);
  t.strictSame([count(), logged], [0, []]);
  const conflict = delivered({ seq: 0, price: 2 });
  collisions.settled([conflict], [{ ...conflict, reason: 'conflict', detail: '' }]);
  const bad = delivered({ symbol: 'QQQ' });
  collisions.settled([bad], [{ ...bad, reason: 'refused_by_database', detail: '' }]);
  t.equal(count(), 1, 'a conflict is counted, whatever its number');
  t.strictSame(logged, [], 'but nothing has to be declared');
});

void test('memory and log are bounded', async (t) => {
  const { collisions, logged, count } = tracker();
  const many = Array.from({ length: 30_000 }, (_, at) => delivered({ symbol: `S${at}` }));
  collisions.settled(many, []);
  collisions.settled([delivered({ symbol: 'S29999' })], []);
  t.equal(count(), 1);
  collisions.settled([delivered({ symbol: 'S0' })], []);
  t.equal(count(), 1, 'long ago');
  const { collisions: others, logged: lines } = tracker();
  for (let at = 0; at < 10; at += 1) {
    const provider = `p${at}`;
    others.settled([delivered({ provider })], []);
  }
  others.settled(
    Array.from({ length: 10 }, (_, at) => delivered({ provider: `p${at}` })),
    [],
  );
  t.equal(logged.length, 1);
  t.equal(lines.length, 5);
});
