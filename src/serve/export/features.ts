import type { FeatureSet } from '../../core/feature/catalogue.ts';
import { HistoryRows, type HistoryRow, type Label } from '../../core/signal/history-rows.ts';
import { rowDigest, sumOfDigests } from '../../core/signal/row-digest.ts';
import type { HourDigest as SeenHour } from '../../core/signal/row-digest.ts';
import type { SignalsStore } from '../../store/signals/signals-store.ts';
import type { TickCursor } from '../../store/signals/ticks.ts';
import type { FeatureTick } from '../../core/feature/tick.ts';

export interface FeatureExportOptions {
  signals: SignalsStore;
  /** the stage whose rows are meant */
  topic: string;
  group: string;
  provider: string;
  set: FeatureSet;
  windowMs: number;
  labels: readonly Label[];
  /** rows with a time in [startUs, endUs), µs since 1970 */
  startUs: number;
  endUs: number;
}

/** How the rows of a symbol compare with what the stage had live. */
export interface Comparison {
  symbol: string;
  rows: number;
  /** hours that the stage has seen as well, and whose digests are equal; that differ; the stage's rows in both */
  equalHours: number;
  differingHours: string[];
  seenRows: number;
}

const HOUR_US = 3_600_000_000;

/**
 * What the stage `inference` saw of a symbol at each window's end, computed from tick_data: from the tick with which its features
 * began, without the ticks that came too late for it. `take` gets the rows in order, a page at a time.
 */
export async function exportFeatures(
  options: FeatureExportOptions,
  symbol: string,
  take: (rows: readonly HistoryRow[]) => Promise<void>,
): Promise<Comparison> {
  const { signals, group, provider, set, windowMs, labels, startUs, endUs } = options;
  const anchorUs = await signals.anchor(group, { provider, symbol });
  const aheadUs = Math.max(0, ...labels.map(({ afterUs }) => afterUs));
  const range = {
    provider,
    symbol,
    fromUs: anchorUs ?? 0,
    beforeUs: endUs + aheadUs,
    seenBy: group,
    known: null,
  };
  const history = new HistoryRows(set, windowMs, labels, startUs);
  const seen = await signals.seenHours(options, symbol, set.shape);
  const compared = new ComparedHours(provider, symbol, seen);
  const pass = async (rows: readonly HistoryRow[]): Promise<void> => {
    const wanted = rows.filter(({ tsUs }) => tsUs >= startUs && tsUs < endUs);
    for (const row of wanted) compared.add(row);
    if (wanted.length > 0) await take(wanted);
  };
  for (let after: TickCursor | null = null; ;) {
    const page: FeatureTick[] | null = await signals.ticks(range, after);
    if (page === null) break;
    for (const tick of page) history.add(tick);
    after = page[page.length - 1];
    await pass(history.take());
  }
  // a window, or what follows one, ends when its time has come, and not with the last tick
  history.advance(Math.min(range.beforeUs, await signals.nowUs()));
  await pass(history.take());
  await pass(history.finish());
  return compared.result(startUs, endUs);
}

/** The digests of hours, against those that the stage stored. */
class ComparedHours {
  readonly #provider: string;
  readonly #symbol: string;
  readonly #seen: ReadonlyMap<number, SeenHour>;
  readonly #hours = new Map<number, { rows: number; digest: bigint }>();
  #rows = 0;

  constructor(provider: string, symbol: string, seen: readonly SeenHour[]) {
    this.#provider = provider;
    this.#symbol = symbol;
    this.#seen = new Map(seen.map((each) => [each.hourUs, each]));
  }

  add({ tsUs, values }: HistoryRow): void {
    this.#rows += 1;
    const hourUs = Math.floor(tsUs / HOUR_US) * HOUR_US;
    const seen = this.#seen.get(hourUs);
    // the stage began in the middle of it, or has not come to its end
    if (seen === undefined || tsUs < seen.firstUs || tsUs > seen.lastUs) return;
    const hour = this.#hours.get(hourUs) ?? { rows: 0, digest: 0n };
    hour.rows += 1;
    hour.digest = sumOfDigests(hour.digest, rowDigest(this.#provider, this.#symbol, tsUs, values));
    this.#hours.set(hourUs, hour);
  }

  result(startUs: number, endUs: number): Comparison {
    const result: Comparison = {
      symbol: this.#symbol,
      rows: this.#rows,
      equalHours: 0,
      differingHours: [],
      seenRows: 0,
    };
    for (const { hourUs, firstUs, lastUs, rows, digest } of this.#seen.values()) {
      if (firstUs < startUs || lastUs >= endUs) continue;
      const hour = this.#hours.get(hourUs);
      result.seenRows += rows;
      if (hour?.rows === rows && hour.digest === digest) result.equalHours += 1;
      else result.differingHours.push(new Date(hourUs / 1000).toISOString());
    }
    return result;
  }
}
