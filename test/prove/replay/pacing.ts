import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import type { ReplayHarness } from '../../support/replay/harness.ts';
import type { BusName } from '../bus/harness.ts';
import type { Figures, ScenarioContext } from '../harness.ts';
import { percentile, withReplays } from './harness.ts';

export interface PacingSize {
  /** at speed 1, 10 ms of event time apart */
  ticks: number;
  /** null: not judged */
  spacingMsMax: number | null;
  pauseMs: number;
  /** by how much the run may differ from what the pause should have made of it; null: not judged */
  pauseErrorMsMax: number | null;
}

const SPACING_MS = 10;

/** Must show 1: at speed 1 and 10 ticks come when they should, by the clock of the bus; a pause adds itself. */
export function keepsTime(context: ScenarioContext, bus: BusName, size: PacingSize): Promise<Figures> {
  return withReplays(bus, context, async (harness) => {
    // two ticks have one time
    await harness.makeTicks(size.ticks, (SPACING_MS * 1000) / 2);
    await harness.child('paced');
    const figures: Figures = { ticks: size.ticks };
    for (const speed of [1, 10]) {
      const late = watchTimers();
      const { errorsMs } = await spacing(harness, speed, async () => {});
      figures[`p99 of a bare timer meanwhile, speed ${speed}`] = `${percentile(late(), 0.99).toFixed(1)} ms`;
      const p99 = percentile(errorsMs, 0.99);
      const p50 = percentile(errorsMs, 0.5);
      figures[`spacing error p50, p99 at speed ${speed}`] = `${p50.toFixed(1)}, ${p99.toFixed(1)} ms`;
      context.say(`spacing error at speed ${speed}: p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms`);
      if (size.spacingMsMax !== null) assert.ok(p99 <= size.spacingMsMax, `p99 ${p99} ms at speed ${speed}`);
    }
    const { tookMs: without } = await spacing(harness, 1, async () => {});
    const { tookMs, errorsMs } = await spacing(harness, 1, async (id) => {
      await harness.untilEmitted(id, size.ticks / 4);
      await harness.replays.order(id, { action: 'pause' });
      await delay(size.pauseMs);
      await harness.replays.order(id, { action: 'resume' });
    });
    const added = tookMs - without;
    figures[`a pause of ${size.pauseMs} ms adds`] = `${Math.round(added)} ms`;
    if (size.pauseErrorMsMax !== null)
      assert.ok(Math.abs(added - size.pauseMs) <= size.pauseErrorMsMax, `it added ${added} ms`);
    assert.equal(errorsMs.length, size.ticks - 1, 'and each tick comes once');
    return figures;
  });
}

/** How late timers of this process fire, ms, until it is asked: what the machine allows. */
function watchTimers(): () => number[] {
  const late: number[] = [];
  let dueMs = performance.now() + SPACING_MS;
  const timer = setInterval(() => {
    const nowMs = performance.now();
    late.push(Math.max(0, nowMs - dueMs));
    dueMs = nowMs + SPACING_MS;
  }, SPACING_MS);
  return () => {
    clearInterval(timer);
    return late;
  };
}

/** Runs everything at a speed; how far each tick came from its time, and how long it took from the first to the last. */
async function spacing(
  harness: ReplayHarness,
  speed: number,
  meanwhile: (id: bigint) => Promise<void>,
): Promise<{ errorsMs: number[]; tookMs: number }> {
  const topic = `paced.${performance.now().toFixed(0)}`;
  const id = await harness.replays.insert(harness.fields({ speed, topic }));
  await meanwhile(id);
  await harness.ended(id);
  const takenMs: number[] = [];
  const eventMs: number[] = [];
  for (let after: string | null = null; ;) {
    const records = await harness.bus.read(topic, 0, after, 10_000);
    if (records.length === 0) break;
    for (const { data, takenMs: ms, position } of records) {
      takenMs.push(ms);
      const { src_ts } = JSON.parse(Buffer.from(data ?? []).toString()) as { src_ts: string };
      eventMs.push(Date.parse(`${src_ts.slice(0, 19)}Z`) + Number(src_ts.slice(20, 26)) / 1000);
      after = position;
    }
  }
  const errorsMs = takenMs
    .slice(1)
    .map((ms, at) => Math.abs(ms - takenMs[at] - (eventMs[at + 1] - eventMs[at]) / speed));
  return { errorsMs, tookMs: (takenMs.at(-1) ?? 0) - takenMs[0] };
}
