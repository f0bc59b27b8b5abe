import type { FeatureTick } from '../feature/tick.ts';

/** taken ticks at the front of the array, before they are cut off */
const SLACK = 1_024;

/** Ticks of a symbol that wait until its watermark has passed them, in the order of (tsUs, seq). */
export class PendingTicks {
  #ticks: FeatureTick[] = [];
  /** those before were taken */
  #from = 0;

  get size(): number {
    return this.#ticks.length - this.#from;
  }

  get all(): readonly FeatureTick[] {
    return this.#ticks.slice(this.#from);
  }

  /** Returns the one with its time and seq that is here already, and stays; null: there is none. */
  add(tick: FeatureTick): FeatureTick | null {
    const ticks = this.#ticks;
    let at = ticks.length;
    while (at > this.#from) {
      const order = compare(ticks[at - 1], tick);
      if (order === 0) return ticks[at - 1];
      if (order < 0) break;
      at -= 1;
    }
    if (at === ticks.length) ticks.push(tick);
    else ticks.splice(at, 0, tick);
    return null;
  }

  /** Takes those before this time; Infinity: all. */
  takeBefore(tsUs: number): FeatureTick[] {
    const ticks = this.#ticks;
    const from = this.#from;
    let end = from;
    while (end < ticks.length && ticks[end].tsUs < tsUs) end += 1;
    if (end === from) return [];
    const taken = ticks.slice(from, end);
    this.#from = end;
    if (end === ticks.length || end > SLACK) {
      this.#ticks = ticks.slice(end);
      this.#from = 0;
    }
    return taken;
  }

  /** Takes those of the earliest time. */
  takeFirst(): FeatureTick[] {
    return this.size === 0 ? [] : this.takeBefore(this.#ticks[this.#from].tsUs + 1);
  }
}

function compare(a: FeatureTick, b: FeatureTick): number {
  if (a.tsUs !== b.tsUs) return a.tsUs - b.tsUs;
  return a.seq < b.seq ? -1 : a.seq > b.seq ? 1 : 0;
}
