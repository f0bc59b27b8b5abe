import type { Env } from '../../../core/env.ts';
import { backoffMs } from '../../../core/retry.ts';
import { pause, unlessAborted } from '../../../core/wait.ts';
import type { LiveRow, LiveRows, RowKey } from '../../../store/live/rows.ts';
import type { SnapshotText } from '../../../store/live/ticks.ts';
import type { LiveEvent } from '../event.ts';
import { FanOut } from '../fan-out.ts';
import { predicateOf, symbolNames, type LiveFilter, type Predicate } from '../filter.ts';
import { SliceHistory } from '../slice-history.ts';
import type { LiveFrom, LiveReader, LiveSource, ReadStep } from '../source.ts';
import type { Vector } from '../vector.ts';
import { ChangeIds, type ChangePlace } from './place.ts';

export interface ChangeSourceTools {
  table: Pick<LiveRows, 'snapshot' | 'series' | 'firstAt' | 'slice' | 'changes'>;
  event: 'bar' | 'signal';
  env: Env;
  /** between two looks, ms; default POLL_MS */
  pollMs?: number;
}

const POLL_MS = 200;
/** a look may take a quarter of the time: where it is slow (a long transaction), there are fewer */
const SHARE = 4;
const PAGE = 1_000;
const BACKOFF = { firstMs: 200, maxMs: 5_000 };
/** places of the hub's positions, for subscribers that fall behind */
const PLACES_MAX = 100_000;

/**
 * The topics `bars` and `signals`: what changes in their table. Each row has the transaction that wrote it last, so the rows
 * that the present snapshot shows and the last one did not are all that changed between the two, whatever the order of the
 * commits. The hub looks every 200 ms; its positions are the numbers of its batches. A row that changed twice between two
 * looks comes once, as it is.
 *
 * A subscriber that begins with a time reads what a snapshot shows, then what changed since up to the hub's snapshot, and is
 * at a position of the hub then. Its places hold the snapshots, so nothing is ever gone: it may come back after a week.
 */
export class ChangeSource implements LiveSource {
  readonly #tools: ChangeSourceTools;
  readonly #ids: ChangeIds;
  readonly #stopping = new AbortController();
  readonly #fanOut = new FanOut((a, b) => Number(a) - Number(b), ['0']);
  /** of each position, from #firstPlace on */
  #places: ChangePlace[] = [];
  #firstPlace = 0;
  /** the hub has everything up to this snapshot at this position; null: it has not begun */
  #boundary: Boundary | null = null;
  #running: Promise<void> | null = null;
  /** that began */
  #looks = 0;
  /** ends the pause before the next one */
  #soon = new AbortController();

  constructor(tools: ChangeSourceTools) {
    this.#tools = tools;
    this.#ids = new ChangeIds(tools.event === 'bar' ? 'b' : 's');
  }

  async open(from: LiveFrom, filter: LiveFilter, signal: AbortSignal): Promise<LiveReader> {
    const place: ChangePlace | null =
      from.kind === 'id'
        ? this.#ids.parse(from.id)
        : from.kind === 'time'
          ? { kind: 'history', snapshot: null, fromUs: from.us, last: null }
          : null;
    this.#running ??= this.#run();
    // a snapshot of an id is older than a look that begins now, so everything that changed since lies between the two
    const look = this.#looks + 1;
    this.#soon.abort();
    while ((this.#boundary?.look ?? 0) < look && !signal.aborted && !this.#stopping.signal.aborted)
      await unlessAborted(this.#fanOut.news(), signal);
    return this.#reader(place ?? { kind: 'behind', snapshot: this.#boundary?.snapshot ?? '1:1:' }, filter);
  }

  reopen(_fanOut: FanOut, at: Vector, filter: LiveFilter): LiveReader {
    return this.#reader(this.#placeOf(at), filter);
  }

  idAt(_fanOut: FanOut, positions: Vector): string {
    return this.#ids.of(this.#placeOf(positions));
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#fanOut.wake();
    await this.#running;
  }

  #reader(place: ChangePlace, filter: LiveFilter): LiveReader {
    return new ChangeReader(
      this.#tools,
      this.#ids,
      { fanOut: this.#fanOut, boundary: () => this.#boundary as Boundary },
      place,
      filter,
    );
  }

  /** The oldest known one where a position is older: some come again then. */
  #placeOf(positions: Vector): ChangePlace {
    const number = Number(positions[0] ?? 0);
    return this.#places[Math.max(0, number - this.#firstPlace)] ?? (this.#places.at(-1) as ChangePlace);
  }

  async #run(): Promise<void> {
    const { table, env, pollMs = POLL_MS } = this.#tools;
    let attempt = 0;
    let snapshot: SnapshotText | null = null;
    while (!this.#stopping.signal.aborted) {
      const beganMs = env.clock.monotonicMs();
      this.#looks += 1;
      this.#soon = new AbortController();
      const look = this.#looks;
      try {
        const now = await table.snapshot();
        if (snapshot === null) this.#places.push({ kind: 'behind', snapshot: now });
        else if (now !== snapshot) await this.#publish(snapshot, now);
        snapshot = now;
        this.#boundary = { look, snapshot: now, positions: this.#fanOut.positions };
        this.#fanOut.wake();
        attempt = 0;
      } catch (error) {
        if (attempt === 1) env.log('warn', 'The live path waits for the database', { err: error });
        await pause(backoffMs(attempt, BACKOFF, env.random()), this.#stopping.signal);
        attempt += 1;
      }
      const tookMs = env.clock.monotonicMs() - beganMs;
      const enough = AbortSignal.any([this.#stopping.signal, this.#soon.signal]);
      await pause(Math.max(pollMs, tookMs * SHARE), enough);
    }
  }

  async #publish(from: SnapshotText, to: SnapshotText): Promise<void> {
    const { table, event, env } = this.#tools;
    const takenMs = Number(env.clock.nowMicros() / 1000n);
    let last: (RowKey & { tx: bigint }) | null = null;
    // all of it before anything is published: after a failure it is read anew
    const pages: LiveRow[][] = [];
    for (;;) {
      const rows: LiveRow[] = await table.changes({ from, to }, last, PAGE, 'hub');
      if (rows.length > 0) pages.push(rows);
      last = rows.at(-1) ?? last;
      if (rows.length < PAGE) break;
    }
    for (const rows of pages) {
      const position = String(Number(this.#fanOut.positions[0]) + 1);
      this.#notePlace({ kind: 'changes', from, to, last: rows.at(-1) as LiveRow });
      const placed = rows.map((row) => {
        const id = this.#ids.of({ kind: 'changes', from, to, last: row });
        return { event: rowEvent(event, row, id), partition: 0, position, takenMs };
      });
      this.#fanOut.publish(0, position, placed);
    }
    // nothing was left out behind the last page
    this.#places[this.#places.length - 1] = { kind: 'behind', snapshot: to };
  }

  #notePlace(place: ChangePlace): void {
    this.#places.push(place);
    if (this.#places.length <= PLACES_MAX) return;
    this.#places = this.#places.slice(PLACES_MAX / 2);
    this.#firstPlace += PLACES_MAX / 2;
  }
}

interface HubView {
  fanOut: FanOut;
  boundary: () => Boundary;
}

interface Boundary {
  /** number of the look */
  look: number;
  snapshot: SnapshotText;
  positions: Vector;
}

/**
 * What one subscriber to a table reads by itself: history, then changes from snapshot to snapshot, up to the hub's.
 */
class ChangeReader implements LiveReader {
  readonly #tools: ChangeSourceTools;
  readonly #ids: ChangeIds;
  readonly #hub: HubView;
  readonly #filter: LiveFilter;
  readonly #predicate: Predicate;
  #place: ChangePlace;
  #history: SliceHistory<RowKey, LiveRow> | null = null;
  /** of the place that is aimed at: where the hub was at its snapshot */
  #aim: Boundary | null = null;

  constructor(
    tools: ChangeSourceTools,
    ids: ChangeIds,
    hub: HubView,
    place: ChangePlace,
    filter: LiveFilter,
  ) {
    this.#tools = tools;
    this.#ids = ids;
    this.#hub = hub;
    this.#place = place;
    this.#filter = filter;
    this.#predicate = predicateOf(filter);
  }

  async next(): Promise<ReadStep> {
    const place = this.#place;
    switch (place.kind) {
      case 'history':
        return this.#readHistory(place);
      case 'behind': {
        if (this.#aim?.snapshot === place.snapshot)
          return { kind: 'memory', fanOut: this.#hub.fanOut, positions: this.#aim.positions };
        const aim = this.#hub.boundary();
        this.#aim = aim;
        if (aim.snapshot !== place.snapshot)
          this.#place = { kind: 'changes', from: place.snapshot, to: aim.snapshot, last: null };
        return NOTHING;
      }
      case 'changes':
        return this.#readChanges(place);
    }
  }

  pause(): Promise<void> {
    return Promise.resolve();
  }

  async #readHistory(place: ChangePlace & { kind: 'history' }): Promise<ReadStep> {
    const { table, event } = this.#tools;
    // the hub's: one of this moment would be newer, and the hub's next looks would show some of it again
    const snapshot = place.snapshot ?? this.#hub.boundary().snapshot;
    const from = { ...place, snapshot };
    this.#place = from;
    let series: string[][] = [];
    this.#history ??= new SliceHistory<RowKey, LiveRow>(
      {
        begin: async () => {
          series = await table.series({
            symbols: symbolNames(this.#filter),
            provider: this.#filter.provider,
          });
          return series.length > 0;
        },
        firstAt: (us) => table.firstAt(series, us),
        slice: (start, end, after, limit) =>
          table.slice(series, { from: start, to: end, after, snapshot, limit }),
      },
      place.fromUs,
      place.last,
    );
    const rows = await this.#history.next();
    if (rows === null) {
      this.#place = { kind: 'behind', snapshot };
      return NOTHING;
    }
    return this.#events(rows.map((row) => rowEvent(event, row, this.#ids.of({ ...from, last: row }))));
  }

  async #readChanges(place: ChangePlace & { kind: 'changes' }): Promise<ReadStep> {
    const { table, event } = this.#tools;
    const rows = await table.changes(place, place.last, PAGE, 'client');
    const last = rows.at(-1);
    this.#place =
      rows.length < PAGE || last === undefined ? { kind: 'behind', snapshot: place.to } : { ...place, last };
    return this.#events(rows.map((row) => rowEvent(event, row, this.#ids.of({ ...place, last: row }))));
  }

  #events(events: readonly LiveEvent[]): ReadStep {
    return { kind: 'events', events: events.filter(this.#predicate) };
  }
}

const NOTHING: ReadStep = { kind: 'events', events: [] };

function rowEvent(event: 'bar' | 'signal', { names, item }: LiveRow, id: string): LiveEvent {
  const [provider, symbol] = names;
  return { id, event, data: JSON.stringify(item), provider, symbol, fields: () => fieldsOf(event, item) };
}

/** Filters know bars by the words of events, too. */
function fieldsOf(event: 'bar' | 'signal', item: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const { open, high, low, close, volume, metadata } = item;
  const words =
    event === 'bar' ? { o: open, h: high, l: low, c: close, v: volume, price: close } : { meta: metadata };
  return { ...item, kind: event, src_ts: item['ts'], ...words };
}
