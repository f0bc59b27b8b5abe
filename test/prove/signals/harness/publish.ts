import { setTimeout as delay } from 'node:timers/promises';
import { eventRecord } from '../../../../src/bus/publisher.ts';
import type { StreamBus } from '../../../../src/bus/bus.ts';
import type { TickEvent } from '../../../../src/core/market/event.ts';
import { insist } from '../../../conformance/harness.ts';
import { TOPIC } from '../../bus/harness.ts';
import type { Script } from './events.ts';
import { IDLE_MS } from './expected.ts';

const BATCH = 1_000;
/** that no symbol can be taken for heard of in time */
const SILENCE_MS = IDLE_MS + 1_000;

export async function publishAll(
  bus: Pick<StreamBus, 'publish'>,
  events: readonly TickEvent[],
  { batch = BATCH, gapMs = 0 }: { batch?: number; gapMs?: number } = {},
): Promise<void> {
  for (let from = 0; from < events.length; from += batch) {
    const records = events.slice(from, from + batch).map((event) => eventRecord(event, 'json'));
    await insist(() => bus.publish(TOPIC, records));
    if (gapMs > 0) await delay(gapMs);
  }
}

/** All of it, over about so long, with its pause. */
export async function publishScript(
  bus: Pick<StreamBus, 'publish'>,
  { events, pauseAt }: Script,
  durationMs: number,
): Promise<void> {
  const gapMs = 20;
  const batch = Math.max(1, Math.ceil((events.length * gapMs) / durationMs));
  await publishAll(bus, events.slice(0, pauseAt), { batch, gapMs });
  await delay(SILENCE_MS);
  await publishAll(bus, events.slice(pauseAt), { batch, gapMs });
}
