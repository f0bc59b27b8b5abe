import { test } from 'tap';
import type { LogEnds, TrimPolicy } from '../../../src/bus/bus.ts';
import { LogAges, type TrimBounds } from '../../../src/bus/log-ages.ts';

const HOUR_MS = 3_600_000;
const LETTERS = { acknowledgedMs: 10 * HOUR_MS, retentionMs: 10 * HOUR_MS, outlivesProcess: true };

/** A topic of one partition whose end is set, and a clock that is moved. */
class Log {
  end: string | null = null;
  nowMs = 1_000;
  name = 'log-1';
  readonly store: LogEnds | undefined;

  constructor(store?: LogEnds) {
    this.store = store;
  }

  ages(): LogAges {
    return new LogAges({
      ends: async () => new Map([[0, this.end]]),
      compare: (a, b) => Number(a) - Number(b),
      logName: async () => this.name,
      store: this.store,
      clock: { monotonicMs: () => this.nowMs, nowMicros: () => 0n },
    });
  }
}

const boundsOf = async (ages: LogAges, policy: TrimPolicy): Promise<TrimBounds[]> => [
  ...(await ages.bounds('events', policy)).values(),
];

void test('a topic that nobody has read begins to age when it is first looked at', async (t) => {
  const log = new Log();
  const ages = log.ages();
  const policy = { acknowledgedMs: HOUR_MS, retentionMs: 24 * HOUR_MS };
  t.strictSame(await boundsOf(ages, policy), [{ acknowledged: null, unclaimed: null }]);
  log.end = '7';
  t.strictSame(await boundsOf(ages, policy), [{ acknowledged: null, unclaimed: null }]);
  log.nowMs += HOUR_MS;
  log.end = '9';
  t.strictSame(await boundsOf(ages, policy), [{ acknowledged: '7', unclaimed: null }]);
  log.nowMs += 23 * HOUR_MS;
  t.strictSame(await boundsOf(ages, policy), [{ acknowledged: '9', unclaimed: '7' }]);
  t.strictSame(
    await boundsOf(ages, { acknowledgedMs: 0, retentionMs: 0 }),
    [{ acknowledged: '9', unclaimed: '9' }],
    'at once is what is there now',
  );
  t.strictSame(await boundsOf(log.ages(), policy), [{ acknowledged: null, unclaimed: null }], 'a restart');
});

const bound = async (ages: LogAges): Promise<string | null> =>
  (await ages.bounds('dlq', LETTERS)).get(0)?.unclaimed ?? null;

void test('without its database what is known goes on to age', async (t) => {
  let isAway = false;
  const noted: { position: string; atMs: number }[] = [];
  const log: Log = new Log({
    note: async (_topic, _log, _partition, position) => {
      if (isAway) throw new Error('away');
      if (noted.at(-1)?.position !== position) noted.push({ position, atMs: log.nowMs });
      return noted.map((each) => ({ position: each.position, ageMs: log.nowMs - each.atMs }));
    },
    forget: async () => void noted.splice(0),
  });
  log.end = '5';
  t.equal(await bound(log.ages()), null);
  log.nowMs += 9 * HOUR_MS;
  const ages = log.ages();
  t.equal(await bound(ages), null);
  isAway = true;
  log.end = '8';
  log.nowMs += HOUR_MS;
  t.equal(await bound(ages), '5', 'counted through the restart');
  t.equal(await bound(log.ages()), null, 'nothing is known');
  isAway = false;
  log.nowMs += 10 * HOUR_MS;
  t.equal(await bound(ages), '5', 'what came while it was away is as old as it is');
  log.end = '2';
  log.nowMs += HOUR_MS;
  t.equal(await bound(ages), null, 'the topic was made anew');
  log.nowMs += 10 * HOUR_MS;
  t.equal(await bound(ages), '2');
});
