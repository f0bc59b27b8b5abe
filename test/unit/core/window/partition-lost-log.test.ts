import { test } from 'tap';
import { normalise } from '../../../../src/core/market/normalise.ts';
import { PartitionWindows } from '../../../../src/core/window/partition-windows.ts';

const START_US = 1_755_945_300_000_000;

void test('windows that were open in a log that is another one by now are closed and their ticks asked', (t) => {
  const rules = {
    windowMs: 2_000,
    allowLateMs: 500,
    late: 'revise' as const,
    reviseHorizonMs: 86_400_000,
    idleTimeoutMs: 5_000,
  };
  const known = {
    runId: 0n,
    provider: 'p',
    symbol: 'SPY',
    maxUs: START_US + 2_100_000,
    closedEndUs: START_US,
    rollups: [],
  };
  const windows = new PartitionWindows(
    rules,
    { position: null, openAfter: null, openCount: 3 },
    [known],
    (a, b) => Number(a) - Number(b),
  );
  t.equal(windows.lostEntries, 3);
  t.notOk(windows.hasWork, 'there is no position yet');
  const event = normalise({
    kind: 'tick',
    provider: 'p',
    symbol: 'SPY',
    src_ts: '2025-08-23T10:35:05Z',
    price: 1,
  });
  if (event.kind === 'refused') throw new Error(event.detail);
  windows.apply('1', 1, event);
  const { late, watermarks } = windows.takeStep();
  t.strictSame(
    late.map(({ startUs, position }) => ({ startUs, position })),
    [START_US, START_US + 2_000_000].map((startUs) => ({ startUs, position: null })),
  );
  t.equal(watermarks[0]?.closedEndUs, START_US + 4_000_000);
  t.end();
});
