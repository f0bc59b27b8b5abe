import assert from 'node:assert/strict';
import fc from 'fast-check';
import { test } from 'tap';
import { windowEndUs, windowStartUs, rollupsOf } from '../../../../src/core/window/rollup.ts';
import type { TickEvent } from '../../../../src/core/market/event.ts';
import type { LatePolicy } from '../../../../src/core/window/rules.ts';
import { BarWorld, type Action, type Entry } from './bar-world.ts';
import { barOfTicks, idOf } from './fake-store.ts';
import { liveStream, replayStream } from './market-events.ts';

const RULES = { reviseHorizonMs: 86_400_000, idleTimeoutMs: 5_000 } as const;
const WINDOWS_MS = [500, 1_000, 2_000, 5_000, 60_000];

function actions(...more: fc.Arbitrary<Action>[]): fc.Arbitrary<Action[]> {
  return fc.array(
    fc.oneof(
      {
        weight: 6,
        arbitrary: fc.record({ kind: fc.constant('read' as const), count: fc.integer({ min: 1, max: 20 }) }),
      },
      { weight: 4, arbitrary: fc.constant<Action>({ kind: 'step' }) },
      { weight: 2, arbitrary: fc.constant<Action>({ kind: 'store' }) },
      { weight: 2, arbitrary: fc.constant<Action>({ kind: 'revise' }) },
      {
        weight: 3,
        arbitrary: fc.record({
          kind: fc.constant('consume' as const),
          count: fc.integer({ min: 0, max: 30 }),
        }),
      },
      {
        weight: 2,
        arbitrary: fc.record({
          kind: fc.constant('idle' as const),
          quietMs: fc.integer({ min: 0, max: 9_000 }),
        }),
      },
      {
        weight: 2,
        arbitrary: fc.record({
          kind: fc.constant('crash' as const),
          isStored: fc.boolean(),
          windowMs: fc.constant(null),
        }),
      },
      ...more.map((arbitrary) => ({ weight: 1, arbitrary })),
    ),
    { maxLength: 40, size: 'max' },
  );
}

/** Every live bar, or every bar of replays, from nothing but the set of distinct ticks. */
function check({ store, rules, sinceUs }: BarWorld, all: Iterable<TickEvent>, isLive: boolean): void {
  const expected = new Map<string, { ticks: TickEvent[]; isFinal: boolean }>();
  for (const tick of all) {
    const { provider, symbol } = tick;
    const key = { runId: tick.replayRunId ?? 0n, provider, symbol };
    const name = `${key.runId}|${provider}|${symbol}`;
    const closedEnd = store.watermarks.get(name)?.closedEndUs ?? NaN;
    const since = sinceUs.get(name) ?? -Infinity;
    for (const intervalMs of [rules.windowMs, ...rollupsOf(rules.windowMs)]) {
      const startUs = windowStartUs(Number(tick.srcTs), intervalMs);
      const endUs = windowEndUs(startUs, intervalMs);
      const id = idOf({ ...key, intervalMs, startUs });
      const isBase = intervalMs === rules.windowMs;
      // bars of the time before the length of windows was changed are not corrected
      if (isBase ? endUs <= since : startUs < since) continue;
      const known = expected.get(id);
      if (known !== undefined) known.ticks.push(tick);
      else expected.set(id, { ticks: [tick], isFinal: isBase || endUs <= closedEnd });
    }
  }
  for (const [id, { ticks, isFinal }] of expected) {
    const row = store.bars.get(id);
    assert.ok(row !== undefined, `no bar ${id}`);
    assert.deepStrictEqual({ bar: row.bar, isFinal: row.isFinal }, { bar: barOfTicks(ticks), isFinal }, id);
  }
  if (sinceUs.size > 0) return;
  const rows = [...store.bars.values()].filter(({ runId }) => (runId === 0n) === isLive);
  assert.equal(rows.length, expected.size);
}

function checkLive(world: BarWorld): void {
  check(world, world.store.tickData.ticks.values(), true);
}

const model = fc.record({
  windowMs: fc.constantFrom(...WINDOWS_MS),
  allowLateMs: fc.constantFrom(0, 250, 2_000, 10_000),
  log: liveStream(120),
});

interface Model {
  windowMs: number;
  allowLateMs: number;
  log: Entry[];
}

function run({ log, ...lengths }: Model, script: readonly Action[], late: LatePolicy = 'revise'): BarWorld {
  const world = new BarWorld({ ...RULES, late, ...lengths }, log);
  for (const action of script) world.act(action);
  world.finish();
  return world;
}

void test('bars are a function of the set of ticks, whatever order, steps, idle closings and crashes', (t) => {
  fc.assert(
    fc.property(model, actions(), (model, script) => {
      const world = run(model, script);
      checkLive(world);
      assert.equal(world.lostEntries, 0);
    }),
    { numRuns: 400 },
  );
  t.end();
});

void test('ticks that the bus lost of open windows are asked of the tick consumer', (t) => {
  fc.assert(
    fc.property(
      model,
      actions(fc.record({ kind: fc.constant('lose' as const), count: fc.integer({ min: 1, max: 40 }) })),
      (model, script) => checkLive(run(model, script)),
    ),
    { numRuns: 400 },
  );
  t.end();
});

void test('of two contents of a tick the stored one counts, whichever was first on the bus', (t) => {
  const ahead = fc.record({ kind: fc.constant('ahead' as const), offset: fc.integer({ min: 1, max: 40 }) });
  const outside = fc.record({ kind: fc.constant('outside' as const), which: fc.nat() });
  const script = actions(ahead, ahead, ahead, outside, fc.constant<Action>({ kind: 'recheck' }));
  fc.assert(
    fc.property(model, script, (model, script) => checkLive(run(model, script))),
    { numRuns: 400 },
  );
  t.end();
});

void test('a bus that is silent while it has entries loses none', (t) => {
  fc.assert(
    fc.property(model, actions(fc.constant<Action>({ kind: 'silence' })), (model, script) =>
      checkLive(run(model, script)),
    ),
    { numRuns: 400 },
  );
  t.end();
});

void test('windows may have another length after each restart', (t) => {
  const length = fc.record({
    kind: fc.constant('crash' as const),
    isStored: fc.boolean(),
    windowMs: fc.constantFrom(...WINDOWS_MS),
  });
  fc.assert(
    fc.property(model, actions(length, length), (model, script) => checkLive(run(model, script))),
    { numRuns: 400 },
  );
  t.end();
});

void test('bars of replays are complete after pauses and repetitions, and live bars know nothing of them', (t) => {
  const replays = fc.record({
    windowMs: fc.constantFrom(...WINDOWS_MS),
    allowLateMs: fc.constantFrom(0, 250, 2_000, 10_000),
    stream: replayStream(40),
  });
  fc.assert(
    fc.property(replays, actions(), ({ stream, ...lengths }, script) => {
      const world = run({ ...lengths, log: stream.log }, script);
      checkLive(world);
      check(world, stream.ticks, false);
    }),
    { numRuns: 300 },
  );
  t.end();
});

/** What the policy drop lets in, and how often it does not: by nothing but watermarks. */
function judge({ log, windowMs, allowLateMs }: Model): { kept: Map<string, TickEvent>; dropped: number } {
  const kept = new Map<string, TickEvent>();
  const maxUs = new Map<string, number>();
  let dropped = 0;
  for (const { event } of log) {
    if (event?.kind !== 'tick') continue;
    const name = `${event.provider}|${event.symbol}`;
    const max = maxUs.get(name) ?? -Infinity;
    const srcUs = Number(event.srcTs);
    const endUs = windowEndUs(windowStartUs(srcUs, windowMs), windowMs);
    if (endUs <= max - allowLateMs * 1000) dropped += 1;
    else if (!kept.has(event.eventId)) kept.set(event.eventId, event);
    if (srcUs > max) maxUs.set(name, srcUs);
  }
  return { kept, dropped };
}

void test('what is dropped is counted once, through crashes and silences, and bars hold all the rest', (t) => {
  const crash = fc.record({
    kind: fc.constant('crash' as const),
    isStored: fc.boolean(),
    windowMs: fc.constant(null),
  });
  const script = actions(crash, fc.constant<Action>({ kind: 'silence' })).map((all) =>
    all.filter(({ kind }) => kind !== 'idle'),
  );
  fc.assert(
    fc.property(model, script, (model, script) => {
      const world = run(model, script, 'drop');
      const { kept, dropped } = judge(model);
      assert.equal(world.store.dropped, dropped);
      assert.equal(world.store.late.size, 0);
      check(world, kept.values(), true);
    }),
    { numRuns: 400 },
  );
  t.end();
});
