import type { Clock } from '../../../core/time.ts';
import type { StoredTick } from '../../../store/live/ticks.ts';

/** What orders ticks of a symbol. */
export type TickPlaceInTime = Pick<StoredTick, 'provider' | 'ts' | 'seq'>;

interface Newest {
  tick: TickPlaceInTime;
  json: string;
  /** when the table was asked last, ms of the monotonic clock; -Infinity: never, so an older row may be newer than this */
  confirmedMs: number;
}

/** Names kept, of a symbol alone and with each of its providers; what comes beyond them is asked of the table each time. */
const NAMES_MAX = 200_000;
/** Rows may also come by other ways than the bus: after so long the table is asked again, ms. */
const CONFIRMED_MS = 5_000;

/**
 * The newest tick of each symbol that a hub has seen. It is the newest one there is once the table was asked while the hub was
 * following the bus: what comes later, the hub sees.
 */
export class NewestTicks {
  readonly #clock: Clock;
  readonly #newest = new Map<string, Newest>();
  /** of the hub that follows now: an answer of the table from before it began says nothing of what came in between */
  #hub = 0;
  #isFollowed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** A tick of the bus, in any order. */
  note(tick: StoredTick, json: string): void {
    this.#raise(nameOf(tick.provider, tick.symbol), tick, json);
    this.#raise(nameOf(null, tick.symbol), tick, json);
  }

  /** To be called before the table is asked, for confirm(). */
  asking(): number {
    return this.#isFollowed ? this.#hub : 0;
  }

  /** What the table has as the newest. @param asked what asking() said @param provider null: of all */
  confirm(asked: number, provider: string | null, symbol: string, tick: TickPlaceInTime, json: string): void {
    if (asked === 0 || asked !== this.asking()) return;
    const name = nameOf(provider, symbol);
    this.#raise(name, tick, json);
    const found = this.#newest.get(name);
    if (found !== undefined) found.confirmedMs = this.#clock.monotonicMs();
  }

  /** Null: the table has to be asked. */
  get(provider: string | null, symbol: string): { tick: TickPlaceInTime; json: string } | null {
    const found = this.#newest.get(nameOf(provider, symbol));
    if (found === undefined || this.#clock.monotonicMs() - found.confirmedMs > CONFIRMED_MS) return null;
    return found;
  }

  /** A hub follows the bus from here on. */
  begin(): void {
    this.#hub += 1;
    this.#isFollowed = true;
  }

  /** It has lost its place, or was stopped: what comes now, nobody sees. */
  end(): void {
    this.#isFollowed = false;
    this.#newest.clear();
  }

  #raise(name: string, tick: TickPlaceInTime, json: string): void {
    const found = this.#newest.get(name);
    if (found === undefined) {
      if (this.#newest.size < NAMES_MAX) this.#newest.set(name, { tick, json, confirmedMs: -Infinity });
    } else if (isLater(tick, found.tick)) {
      found.tick = tick;
      found.json = json;
    }
  }
}

/** As the queries order them: by time, provider, seq. */
function isLater(one: TickPlaceInTime, other: TickPlaceInTime): boolean {
  if (one.ts !== other.ts) return one.ts > other.ts;
  if (one.provider !== other.provider) return one.provider > other.provider;
  return one.seq > other.seq;
}

/** No provider and no symbol holds `|`. */
function nameOf(provider: string | null, symbol: string): string {
  return `${provider ?? ''}|${symbol}`;
}
