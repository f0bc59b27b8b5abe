import type { TickRange } from '../../core/ingest/ranges.ts';
import { streamVerdict } from '../../core/retry.ts';
import { answered, serverDown, type FillPass } from './pass.ts';
import type { TickCaller } from './by-calls.ts';
import { RangeStream, streamsFrom, type RangeStreamLimits } from './range-stream.ts';
import { oldestServed } from '../sequencer/oldest-served.ts';
import type { StreamFailure } from '../sequencer/connection.ts';

/** How many numbers of a long hole are requested after a stream passed over it, both ends included. */
const SAMPLE = 16;

/**
 * Reads a long hole from its own stream, up to the hole's last number. What the stream leaves out is requested by
 * GetTick.
 */
export async function fillByStream(
  pass: FillPass,
  range: TickRange,
  limits: RangeStreamLimits,
): Promise<void> {
  pass.counts.streams += 1;
  pass.env.log('info', 'Reading a long gap from a stream of its own', {
    first_tick: range.first,
    last_tick: range.last,
  });
  const stream = new RangeStream(pass.server, range, limits, pass.env.clock);
  let done = range.first - 1n;
  let began = false;
  try {
    for (;;) {
      const { frames, upTo, end } = await stream.next();
      pass.check();
      if (end !== null) stream.close();
      began ||= frames.length > 0;
      await pass.came(frames);
      if (upTo > done) {
        for (const left of pass.openWithin({ first: done + 1n, last: upTo })) pass.again(left, 'left_out');
        done = upTo;
      }
      const rest = { first: done + 1n, last: range.last };
      // a stream that started and fell silent is retried from there
      if (end === 'silent' && !began) pass.again(rest, 'left_out');
      if (end === 'whole' || end === 'silent') return;
      if (end !== null) return await brokenOff(pass, rest, end, began, limits);
      if (done - range.first >= limits.turnTicks && pass.othersWait) return;
    }
  } finally {
    stream.close();
  }
}

/** The stream ended before the range did. */
async function brokenOff(
  pass: FillPass,
  rest: TickRange,
  failure: StreamFailure,
  began: boolean,
  limits: RangeStreamLimits,
): Promise<void> {
  const verdict = streamVerdict(failure);
  if (verdict === 'too_large') {
    // by GetTick it does not delay its neighbours
    const end = rest.first + BigInt(limits.streamTicks) - 1n;
    return pass.again({ first: rest.first, last: end < rest.last ? end : rest.last }, 'each');
  }
  if (verdict === 'position_not_served') return passTooOld(pass, rest, limits);
  if (verdict === 'limited') throw serverDown(failure);
  if (began) return; // the next pass continues from there
  await pass.askHead();
  pass.failed(rest, failure.text);
}

/** The sequencer keeps only part of the chain: no stream has what lies before it. */
async function passTooOld(pass: FillPass, rest: TickRange, limits: RangeStreamLimits): Promise<void> {
  await pass.askHead();
  const serves = async (number: bigint): Promise<boolean> => {
    const does = await streamsFrom(pass.server, number, limits.stallMs);
    pass.check();
    return does;
  };
  const oldest = await answered(oldestServed(serves, rest.first, pass.head));
  if (oldest === null || oldest === rest.first)
    return pass.failed(rest, 'the sequencer refuses a stream from there');
  const last = oldest - 1n < rest.last ? oldest - 1n : rest.last;
  pass.again({ first: rest.first, last }, 'left_out');
}

/**
 * A long hole that a stream passed over. It is too long to request every number: a sample is requested, and all of them
 * if any of the sample is there.
 */
export async function fillBySample(pass: FillPass, range: TickRange, caller: TickCaller): Promise<void> {
  for (const number of sampleOf(range, () => pass.env.random())) {
    const asked = await caller.ask(pass.server, [{ first: number, last: number }]);
    const { frames, missing, failed, limited } = asked;
    pass.check();
    if (limited !== null) throw limited;
    pass.counts.missing += Number(missing.count());
    pass.counts.failed += failed.length;
    if (frames.length > 0) return pass.again(range, 'each');
    if (failed[0] === undefined) continue;
    await pass.askHead();
    return pass.failed(range, failed[0].error);
  }
  await pass.notThere([range]);
}

/** Both ends, and one number from each equal part between them. */
function sampleOf({ first, last }: TickRange, random: () => number): bigint[] {
  const parts = BigInt(SAMPLE - 2);
  const between = Array.from({ length: SAMPLE - 2 }, (_, at) => {
    const low = first + ((last - first) * BigInt(at)) / parts;
    const high = first + ((last - first) * BigInt(at + 1)) / parts;
    return low + BigInt(Math.floor(random() * Number(high - low)));
  });
  return [first, ...between, last];
}
