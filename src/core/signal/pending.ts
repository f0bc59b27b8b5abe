import type { FeatureTick } from '../feature/tick.ts';

/** Ticks of a symbol that wait until its watermark has passed them, in the order of (tsUs, seq). */
export class PendingTicks {
  #ticks: FeatureTick[] = [];

  get size(): number {
    return this.#ticks.length;
  }

  get all(): readonly FeatureTick[] {
    return this.#ticks;
  }

  /** False: one with its time and seq is here already, and stays. */
  add(tick: FeatureTick): boolean {
    let at = this.#ticks.length;
    while (at > 0) {
      const order = compare(this.#ticks[at - 1], tick);
      if (order === 0) return false;
      if (order < 0) break;
      at -= 1;
    }
    if (at === this.#ticks.length) this.#ticks.push(tick);
    else this.#ticks.splice(at, 0, tick);
    return true;
  }

  /** Takes those before this time; Infinity: all. */
  takeBefore(tsUs: number): FeatureTick[] {
    const ticks = this.#ticks;
    let count = 0;
    while (count < ticks.length && ticks[count].tsUs < tsUs) count += 1;
    if (count === 0) return [];
    this.#ticks = ticks.slice(count);
    return ticks.slice(0, count);
  }

  /** Takes those of the earliest time. */
  takeFirst(): FeatureTick[] {
    return this.#ticks.length === 0 ? [] : this.takeBefore(this.#ticks[0].tsUs + 1);
  }
}

function compare(a: FeatureTick, b: FeatureTick): number {
  if (a.tsUs !== b.tsUs) return a.tsUs - b.tsUs;
  return a.seq < b.seq ? -1 : a.seq > b.seq ? 1 : 0;
}
