import type { TickRange } from '../../core/ingest/ranges.ts';
import { streamVerdict } from '../../core/retry.ts';
import { answered, type FillRound } from './round.ts';
import type { TickCaller } from './by-calls.ts';
import { RangeStream, streamsFrom, type RangeStreamLimits } from './range-stream.ts';
import { oldestServed } from '../sequencer/oldest-served.ts';
import type { StreamFailure } from '../sequencer/connection.ts';

/** How many numbers of a long hole that a stream passed over are asked for, both ends among them. */
const SAMPLE = 16;

/** Reads a long hole from a stream of its own, up to its last number. What that leaves out is asked for otherwise. */
export async function fillByStream(
  round: FillRound,
  range: TickRange,
  limits: RangeStreamLimits,
): Promise<void> {
  round.counts.streams += 1;
  round.log('info', 'Reading a long gap from a stream of its own', {
    first_tick: range.first,
    last_tick: range.last,
  });
  const stream = new RangeStream(round.server, range, limits, round.clock);
  let done = range.first - 1n;
  let began = false;
  try {
    for (;;) {
      const { frames, upTo, end } = await stream.next();
      round.check();
      if (end !== null) stream.close();
      began ||= frames.length > 0;
      await round.came(frames);
      if (upTo > done) {
        for (const left of round.openWithin({ first: done + 1n, last: upTo })) round.again(left, 'left_out');
        done = upTo;
      }
      const rest = { first: done + 1n, last: range.last };
      // what began and fell silent is tried again from there
      if (end === 'silent' && !began) round.again(rest, 'left_out');
      if (end === 'whole' || end === 'silent') return;
      if (end !== null) return await brokenOff(round, rest, end, began, limits);
      if (done - range.first >= limits.turnTicks && round.othersWait) return;
    }
  } finally {
    stream.close();
  }
}

/** The stream ended before the range did. */
async function brokenOff(
  round: FillRound,
  rest: TickRange,
  { code, text }: StreamFailure,
  began: boolean,
  limits: RangeStreamLimits,
): Promise<void> {
  const verdict = streamVerdict(code);
  if (verdict === 'too_large') {
    // by GetTick it costs its neighbours nothing
    const end = rest.first + BigInt(limits.streamTicks) - 1n;
    return round.again({ first: rest.first, last: end < rest.last ? end : rest.last }, 'each');
  }
  if (verdict === 'position_not_served') return passTooOld(round, rest, limits);
  if (began) return; // the next round goes on from there
  await round.askHead();
  round.failed(rest, text);
}

/** The sequencer keeps a part of the chain alone: no stream has what lies before it. */
async function passTooOld(round: FillRound, rest: TickRange, limits: RangeStreamLimits): Promise<void> {
  await round.askHead();
  const serves = async (number: bigint): Promise<boolean> => {
    const does = await streamsFrom(round.server, number, limits.stallMs);
    round.check();
    return does;
  };
  const oldest = await answered(oldestServed(serves, rest.first, round.head));
  if (oldest === null || oldest === rest.first)
    return round.failed(rest, 'the sequencer refuses a stream from there');
  const last = oldest - 1n < rest.last ? oldest - 1n : rest.last;
  round.again({ first: rest.first, last }, 'left_out');
}

/**
 * A long hole that a stream passed over. Too long to ask for each number: a sample is asked for, and all of them when
 * one of it is there.
 */
export async function fillBySample(round: FillRound, range: TickRange, caller: TickCaller): Promise<void> {
  for (const number of sampleOf(range, () => round.clock.random())) {
    const { frames, missing, failed } = await caller.ask(round.server, [{ first: number, last: number }]);
    round.check();
    round.counts.missing += Number(missing.count());
    round.counts.failed += failed.length;
    if (frames.length > 0) return round.again(range, 'each');
    if (failed[0] === undefined) continue;
    await round.askHead();
    return round.failed(range, failed[0].error);
  }
  await round.notThere([range]);
}

/** Both ends, and one number out of each equal part between them. */
function sampleOf({ first, last }: TickRange, random: () => number): bigint[] {
  const parts = BigInt(SAMPLE - 2);
  const between = Array.from({ length: SAMPLE - 2 }, (_, at) => {
    const low = first + ((last - first) * BigInt(at)) / parts;
    const high = first + ((last - first) * BigInt(at + 1)) / parts;
    return low + BigInt(Math.floor(random() * Number(high - low)));
  });
  return [first, ...between, last];
}
