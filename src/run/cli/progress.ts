import { Bar, Presets } from 'cli-progress';
import type { Clock } from '../../core/time.ts';

/** Progress of long work: a bar on a terminal, a line every few seconds elsewhere. On stderr. */
export interface Progress {
  update(done: number): void;
  stop(): void;
}

const LINE_EVERY_MS = 5_000;

/** @param what the work in one word, such as "verifying"; total in `unit`s */
export function startProgress(what: string, unit: string, total: number, clock: Clock): Progress {
  return process.stderr.isTTY ? bar(what, unit, total) : lines(what, unit, total, clock);
}

function bar(what: string, unit: string, total: number): Progress {
  const format = `${what} |{bar}| {percentage} % of {total} ${unit}, {eta_formatted} left`;
  const shown = new Bar({ format, hideCursor: true }, Presets.legacy);
  shown.start(total, 0);
  return {
    update: (done) => shown.update(done),
    stop: () => shown.stop(),
  };
}

function lines(what: string, unit: string, total: number, clock: Clock): Progress {
  const beganMs = clock.monotonicMs();
  let done = 0;
  const say = (): void => {
    const seconds = (clock.monotonicMs() - beganMs) / 1000;
    const percent = ((100 * done) / Math.max(1, total)).toFixed(1);
    process.stderr.write(
      `${what}: ${done} of ${total} ${unit} (${percent} %), ${Math.round(done / seconds)} a second\n`,
    );
  };
  const timer = setInterval(say, LINE_EVERY_MS);
  return {
    update: (count) => (done = count),
    stop: () => clearInterval(timer),
  };
}
