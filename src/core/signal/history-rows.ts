import type { FeatureSet } from '../feature/catalogue.ts';
import { SymbolFeatures } from '../feature/symbol-features.ts';
import type { FeatureTick } from '../feature/tick.ts';

/** What followed a row: a feature as of some time behind it. `ret_30s@+60s` */
export interface Label {
  name: string;
  /** index of the feature */
  feature: number;
  afterUs: number;
}

/** Features at the end of a window, and what followed. */
export interface HistoryRow {
  /** the end of the window, µs since 1970 */
  tsUs: number;
  price: number;
  values: Float64Array;
  /** in the order of the labels; NaN: null */
  labels: Float64Array;
}

/** A row whose labels are not all known. */
interface Waiting {
  row: HistoryRow;
  left: number;
}

/**
 * The rows of one symbol from its ticks in order: those that the stage had live, because it has the same features, and looks at
 * them at the same times. Labels look ahead of a row, never the row itself.
 */
export class HistoryRows {
  readonly #features: SymbolFeatures;
  readonly #labels: readonly Label[];
  readonly #windowUs: number;
  readonly #fromUs: number;
  readonly #waiting: Waiting[] = [];
  /** by label: number of the next row to be looked at, counted from the first one ever */
  readonly #next: number[];
  #gone = 0;
  #windowEndUs: number | null = null;
  #ready: HistoryRow[] = [];

  /** @param fromUs rows before this time are not wanted: their ticks only prime the features */
  constructor(set: FeatureSet, windowMs: number, labels: readonly Label[], fromUs: number) {
    this.#features = new SymbolFeatures(set);
    this.#windowUs = windowMs * 1000;
    this.#labels = labels;
    this.#fromUs = fromUs;
    this.#next = labels.map(() => 0);
  }

  add(tick: FeatureTick): void {
    this.#lookUpTo(tick.tsUs);
    this.#features.add(tick);
    const endUs = (Math.floor(tick.tsUs / this.#windowUs) + 1) * this.#windowUs;
    if (endUs >= this.#fromUs) this.#windowEndUs = endUs;
  }

  /** All ticks up to this time were added: what is to be looked at by then is. */
  advance(toUs: number): void {
    this.#lookUpTo(toUs);
  }

  /** Rows with all their labels, in order of time. */
  take(): HistoryRow[] {
    const ready = this.#ready;
    this.#ready = [];
    return ready;
  }

  /** The other rows: what would follow them is not known. */
  finish(): HistoryRow[] {
    const rows = this.#waiting.map(({ row }) => row);
    this.#waiting.length = 0;
    return rows;
  }

  /** In order of time: at one and the same, windows first. */
  #lookUpTo(tsUs: number): void {
    for (;;) {
      const label = this.#nextLabel();
      const labelUs = label === null ? Infinity : this.#timeOf(label);
      const windowUs = this.#windowEndUs ?? Infinity;
      if (Math.min(labelUs, windowUs) > tsUs) return;
      if (windowUs <= labelUs) this.#lookAtWindow(windowUs);
      else if (label !== null) this.#lookAtLabel(label, labelUs);
    }
  }

  #lookAtWindow(endUs: number): void {
    this.#windowEndUs = null;
    const values = this.#features.values(endUs).slice();
    const row = {
      tsUs: endUs,
      price: this.#features.price,
      values,
      labels: new Float64Array(this.#labels.length).fill(NaN),
    };
    if (this.#labels.length === 0) this.#ready.push(row);
    else this.#waiting.push({ row, left: this.#labels.length });
  }

  #lookAtLabel(label: number, atUs: number): void {
    const waiting = this.#waiting[this.#next[label] - this.#gone];
    this.#next[label] += 1;
    waiting.row.labels[label] = this.#features.values(atUs)[this.#labels[label].feature];
    waiting.left -= 1;
    while (this.#waiting.length > 0 && this.#waiting[0].left === 0) {
      const done = this.#waiting.shift();
      if (done !== undefined) this.#ready.push(done.row);
      this.#gone += 1;
    }
  }

  /** Which label is looked at next; null: none waits. */
  #nextLabel(): number | null {
    let next: number | null = null;
    for (let label = 0; label < this.#labels.length; label += 1) {
      if (this.#next[label] - this.#gone >= this.#waiting.length) continue;
      if (next === null || this.#timeOf(label) < this.#timeOf(next)) next = label;
    }
    return next;
  }

  #timeOf(label: number): number {
    return this.#waiting[this.#next[label] - this.#gone].row.tsUs + this.#labels[label].afterUs;
  }
}

/**
 * `ret_30s@+60s`: the feature and how long after the row it is looked at.
 * @param parseDuration ms of a text such as 60s
 * @throws RangeError
 */
export function parseLabel(
  text: string,
  set: Pick<FeatureSet, 'names'>,
  parseDuration: (text: string) => number,
): Label {
  const match = /^([a-z][a-z0-9_]*)@\+(\S+)$/.exec(text);
  if (match === null) throw new RangeError(`label ${text}: it is written NAME@+LENGTH, such as ret_30s@+60s`);
  const feature = set.names.indexOf(match[1]);
  if (feature < 0)
    throw new RangeError(`label ${text}: no feature ${match[1]}; there are ${set.names.join(', ')}`);
  const afterMs = parseDuration(match[2]);
  if (!(afterMs > 0)) throw new RangeError(`label ${text}: it looks ahead of nothing`);
  return { name: text, feature, afterUs: afterMs * 1000 };
}
