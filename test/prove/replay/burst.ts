import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { contentOf, digestOf, type Message, type ReplayHarness } from '../../support/replay/harness.ts';
import type { BusName } from '../bus/harness.ts';
import type { Figures, ScenarioContext } from '../harness.ts';
import { withReplays } from './harness.ts';

export interface BurstSize {
  ticks: number;
  /** null: not judged */
  ticksPerSecondMin: number | null;
}

export interface KillSize {
  ticks: number;
  /** a microsecond of event time lies between two ticks */
  speed: number;
}

/** Must show 1: all ticks in a burst, equal to what is stored and in order; a second run at another speed has the same digest. */
export function replaysInBurst(
  context: ScenarioContext,
  bus: BusName,
  { ticks, ticksPerSecondMin }: BurstSize,
): Promise<Figures> {
  return withReplays(bus, context, async (harness) => {
    // a second of ticks at any size, so that the other speed takes no longer than this
    await harness.makeTicks(ticks, 1);
    const before = await harness.tableHash();
    await harness.child('burst');
    const beganMs = performance.now();
    const id = await harness.replays.insert(harness.fields());
    const run = await harness.ended(id);
    const perSecond = Math.round(ticks / ((performance.now() - beganMs) / 1000));
    assert.equal(run.status, 'success');
    await equalsStored(harness, await harness.messages(id), run.metadata['digest']);
    const again = await harness.ended(
      await harness.replays.insert(harness.fields({ speed: 0.5, topic: 'again' })),
    );
    assert.equal(again.metadata['digest'], run.metadata['digest'], 'the digest at another speed');
    assert.equal(await harness.tableHash(), before, 'tick_data');
    if (ticksPerSecondMin !== null) assert.ok(perSecond >= ticksPerSecondMin, `${perSecond} ticks/s`);
    return { ticks, 'ticks/s': perSecond, digest: String(run.metadata['digest']).slice(0, 12) };
  });
}

/** Must show 1: killed half-way, and continued by another one. */
export function continuesAfterKill(
  context: ScenarioContext,
  bus: BusName,
  { ticks, speed }: KillSize,
): Promise<Figures> {
  return withReplays(bus, context, async (harness) => {
    await harness.makeTicks(ticks, 1);
    const before = await harness.tableHash();
    const first = await harness.child('first');
    const id = await harness.replays.insert(harness.fields({ speed }));
    await harness.untilEmitted(id, ticks / 2);
    await first.kill();
    const emitted = (await harness.run(id)).rows_written;
    const killedMs = performance.now();
    await harness.child('second');
    const run = await harness.ended(id);
    const seconds = (performance.now() - killedMs) / 1000;
    assert.equal(run.rows_written, ticks);
    assert.ok(emitted < ticks, 'it was not over');
    const messages = await harness.messages(id);
    const distinct = new Map(messages.map((message) => [message.event_id, message]));
    assert.equal(distinct.size, ticks, 'distinct event ids');
    await equalsStored(harness, [...distinct.values()], run.metadata['digest']);
    assert.equal(await harness.tableHash(), before, 'tick_data');
    return {
      ticks,
      'stored at the kill': emitted,
      'emitted again': messages.length - ticks,
      'ended after the kill': `${seconds.toFixed(1)} s`,
    };
  });
}

async function equalsStored(
  harness: ReplayHarness,
  messages: readonly Message[],
  digest: unknown,
): Promise<void> {
  const stored = await harness.stored();
  assert.equal(messages.length, stored.length);
  for (const [at, message] of messages.entries()) {
    assert.deepEqual(contentOf(message), stored[at], `message ${at}`);
    if (at % 10_000 === 0) await delay(0);
  }
  assert.equal(digest, digestOf(messages));
}
