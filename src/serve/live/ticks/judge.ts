import type { LiveTickTable, SnapshotText, StoredTick, SymbolName } from '../../../store/live/ticks.ts';
import { keyText } from './item.ts';
import { RecentKeys } from './recent-keys.ts';

interface Place {
  ts: bigint;
  seq: bigint;
}

/** of symbols; beyond that the database is asked about every tick of a further one */
const SYMBOLS_MAX = 200_000;

/**
 * Decides of each tick on the bus, in its order, whether it is a repetition: a key that is remembered, or one that was stored
 * before the bus took the record. The database is asked only about ticks that are not newer than all that may have been
 * forgotten of their symbol: it knows every tick up to the checkpoint, and the memory all since.
 */
export class TickJudge {
  readonly #table: Pick<LiveTickTable, 'newest' | 'visible'>;
  readonly #keys: RecentKeys;
  /** newest tick of each symbol, and of each symbol the newest that the memory may have forgotten */
  readonly #newest = new Map<string, Place>();
  #floor = new Map<string, Place | null>();
  /** of when the older half of the memory was full */
  #whenFull = new Map<string, Place>();

  constructor(table: Pick<LiveTickTable, 'newest' | 'visible'>, seed: number, halfKeys?: number) {
    this.#table = table;
    this.#keys = new RecentKeys(seed, () => this.#forgot(), halfKeys);
  }

  /** Newest tick that was seen or stored; null: not known. */
  newest(provider: string, symbol: string): Place | null {
    const name = `${provider}|${symbol}`;
    const seen = this.#newest.get(name);
    return seen !== undefined && this.#floor.has(name) ? seen : null;
  }

  /**
   * Whether each is a repetition. One call at a time; rejects as the database does, and may then be repeated.
   * @param shown by this snapshot: stored before the bus took any of these; null: the records are older than any snapshot, and
   *   only the memory is asked
   */
  async judge(ticks: readonly StoredTick[], shown: SnapshotText | null): Promise<boolean[]> {
    const keys = ticks.map((tick) => keyText(tick));
    const stored = new Set<string>();
    if (shown !== null) {
      await this.#learn(ticks);
      const asked = ticks.filter((tick, at) => this.#isUncertain(tick) && !this.#keys.has(keys[at]));
      if (asked.length > 0) {
        const visible = await this.#table.visible(asked, shown, 'hub');
        for (const [at, tick] of asked.entries()) if (visible[at]) stored.add(keyText(tick));
      }
    }
    return ticks.map((tick, at) => {
      const key = keys[at];
      if (this.#keys.has(key)) return true;
      this.#keys.add(key);
      this.#see(tick);
      return stored.has(key);
    });
  }

  /** What the table has of symbols that are new here. */
  async #learn(ticks: readonly StoredTick[]): Promise<void> {
    const unknown = new Map<string, SymbolName>();
    for (const { provider, symbol } of ticks) {
      const name = `${provider}|${symbol}`;
      if (!this.#floor.has(name) && this.#floor.size + unknown.size < SYMBOLS_MAX)
        unknown.set(name, { provider, symbol });
    }
    if (unknown.size === 0) return;
    const found = await this.#table.newest([...unknown.values()]);
    for (const [at, name] of [...unknown.keys()].entries()) {
      const place = found[at] ?? null;
      this.#floor.set(name, place);
      const seen = this.#newest.get(name);
      if (place !== null && (seen === undefined || isAfter(place, seen))) this.#newest.set(name, place);
    }
  }

  #isUncertain({ provider, symbol, ts, seq }: StoredTick): boolean {
    const floor = this.#floor.get(`${provider}|${symbol}`);
    return floor === undefined || (floor !== null && !isAfter({ ts, seq }, floor));
  }

  #see({ provider, symbol, ts, seq }: StoredTick): void {
    const name = `${provider}|${symbol}`;
    const seen = this.#newest.get(name);
    if (seen === undefined ? this.#newest.size < SYMBOLS_MAX : isAfter({ ts, seq }, seen))
      this.#newest.set(name, { ts, seq });
  }

  /** The keys that are forgotten now had been seen by the time when the half behind them began. */
  #forgot(): void {
    for (const [name, place] of this.#whenFull) {
      const floor = this.#floor.get(name);
      if (floor === undefined) continue;
      if (floor === null || isAfter(place, floor)) this.#floor.set(name, place);
    }
    this.#whenFull = new Map(this.#newest);
  }
}

function isAfter(a: Place, b: Place): boolean {
  return a.ts > b.ts || (a.ts === b.ts && a.seq > b.seq);
}
