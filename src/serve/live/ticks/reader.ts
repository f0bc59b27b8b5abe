import { TrimmedError } from '../../../bus/bus.ts';
import { unlessAborted } from '../../../core/wait.ts';
import type { LiveTickTable, StoredTick, SymbolName, TickKey } from '../../../store/live/ticks.ts';
import { predicateOf, symbolNames, type LiveFilter, type Predicate } from '../filter.ts';
import { SliceHistory } from '../slice-history.ts';
import type { Slots } from '../slots.ts';
import { LiveGoneError, type LiveReader, type ReadStep } from '../source.ts';
import { comparePlaces, isAtLeast, type Vector } from '../vector.ts';
import { TickBusReader, type FirstTick } from './bus-reader.ts';
import type { Checkpoints } from './checkpoints.ts';
import type { TickHub, TickHubTools } from './hub.ts';
import { tickEvent, type TickLiveEvent } from './item.ts';
import { BusIds, historyPrefix, packKey, startId, type Checkpoint, type TickPlace } from './place.ts';

export interface TickReaderTools {
  hubTools: TickHubTools;
  table: LiveTickTable;
  checkpoints: Checkpoints;
  /** for reading the bus: each has connections of its own */
  slots: Slots;
  /** the hub that lives, once it is ready; null: the signal was first */
  hub: (signal: AbortSignal) => Promise<TickHub | null>;
}

/** Readings of the history, each of what was stored during the one before, while the bus keeps less than one takes. */
const ROUNDS_MAX = 5;
/** events taken from the hub's memory at a time */
const MEMORY_EVENTS = 500;
/** how far before what is lost a client is told to resume: clocks differ, and events take time, µs */
const MARGIN_US = 10_000_000n;

type HistoryPlace = TickPlace & { kind: 'history' };
type BusPlace = TickPlace & { kind: 'bus' };

/** The history that came before, while nothing of the bus was sent. */
interface BeforeBus {
  place: HistoryPlace;
  round: number;
}

/** `ends`: of what lies behind them nothing was stored when the checkpoint was taken; null: not asked yet. */
type State =
  | { kind: 'placed'; place: HistoryPlace | BusPlace; ends: Vector | null; history: BeforeBus | null }
  | ({ kind: 'history'; rows: SliceHistory<TickKey, StoredTick>; prefix: string; ends: Vector } & BeforeBus)
  | ({ kind: 'bus'; ids: BusIds; ends: Vector; history: BeforeBus | null } & Reading);

interface Reading {
  bus: TickBusReader;
  hub: TickHub;
  checkpoint: Checkpoint;
}

/**
 * What one subscriber to ticks reads by itself.
 *
 *   state    event                                                    next
 *   placed   it is behind a tick of the history                       history
 *   placed   it is behind records of the bus                          bus
 *   history  a page of what its checkpoint's snapshot S shows         history
 *   history  no more                                                  bus       from what was acknowledged (A) when S was taken
 *   bus      the hub remembers what follows: ticks of its memory      bus
 *   bus      the hub does not: ticks of the bus, up to the hub        bus
 *   bus      it has reached the hub's position                        (memory)  the subscriber joins the fan-out
 *   bus      what follows A is trimmed, and nothing of it was sent    history   of what is stored since S: another round
 *   bus      what follows is trimmed otherwise                        (ends)    LiveGoneError
 *
 * In state bus it sends a record when the hub, or its own memory of keys behind A, found it to be the first of its key, and S
 * does not show the key; that is asked for records up to `ends` alone, as what the bus took later cannot be in S, except as
 * a repetition.
 */
export class TickReader implements LiveReader {
  readonly #tools: TickReaderTools;
  readonly #filter: LiveFilter;
  readonly #predicate: Predicate;
  #state: State;
  #release: (() => void) | null = null;
  /** of the last event, µs: where to resume if the rest is lost */
  #takenUs: bigint;

  /** @param ends where the bus ended after the snapshot of the place was taken; null: not known */
  constructor(
    tools: TickReaderTools,
    filter: LiveFilter,
    place: HistoryPlace | BusPlace,
    ends: Vector | null,
  ) {
    this.#tools = tools;
    this.#filter = filter;
    this.#predicate = predicateOf(filter);
    this.#state = { kind: 'placed', place, ends, history: null };
    this.#takenUs =
      place.kind === 'bus' ? BigInt(Math.floor(place.takenMs)) * 1000n : (place.last?.ts ?? place.fromUs);
  }

  async next(signal: AbortSignal): Promise<ReadStep> {
    switch (this.#state.kind) {
      case 'placed':
        await this.#begin(this.#state, signal);
        return NOTHING;
      case 'history':
        return this.#readHistory(this.#state, signal);
      case 'bus':
        try {
          return await this.#readBus(this.#state, signal);
        } catch (error) {
          if (!(error instanceof TrimmedError)) throw error;
          await this.#lost(this.#state.history);
          return NOTHING;
        }
    }
  }

  async pause(): Promise<void> {
    if (this.#state.kind === 'bus') await this.#state.bus.close();
    this.#release?.();
    this.#release = null;
  }

  async #begin({ place, ends, history }: State & { kind: 'placed' }, signal: AbortSignal): Promise<void> {
    const until = ends ?? (await this.#tools.checkpoints.take()).ends;
    if (place.kind === 'history') this.#startHistory(place, until, 0);
    else await this.#startBus(place.log, place.checkpoint, place.positions, until, history, signal);
  }

  #startHistory(place: HistoryPlace, ends: Vector, round: number): void {
    const { checkpoint, without, fromUs, last } = place;
    const { table } = this.#tools;
    const { snapshot } = checkpoint;
    let symbols: SymbolName[] = [];
    const rows = new SliceHistory<TickKey, StoredTick>(
      {
        begin: async () => {
          symbols = await table.symbols(symbolNames(this.#filter), this.#filter.provider);
          return symbols.length > 0;
        },
        firstAt: (from) => table.firstAt(symbols, from),
        slice: (from, to, after, limit) =>
          table.slice({ symbols, from, to, after, snapshot, without, limit }),
      },
      fromUs,
      last,
    );
    this.#state = { kind: 'history', place, rows, prefix: historyPrefix(place), ends, round };
  }

  async #readHistory(state: State & { kind: 'history' }, signal: AbortSignal): Promise<ReadStep> {
    const { place, prefix, ends, round } = state;
    const rows = await state.rows.next();
    if (rows === null) {
      const { log, checkpoint } = place;
      await this.#startBus(log, checkpoint, checkpoint.acknowledged, ends, { place, round }, signal);
      return NOTHING;
    }
    const events = rows.map((tick) => tickEvent(tick, `${prefix}~${packKey(tick)}`)).filter(this.#predicate);
    this.#takenUs = rows.at(-1)?.ts ?? this.#takenUs;
    return { kind: 'events', events };
  }

  async #startBus(
    log: string,
    checkpoint: Checkpoint,
    positions: Vector,
    ends: Vector,
    history: BeforeBus | null,
    signal: AbortSignal,
  ): Promise<void> {
    const hub = await this.#tools.hub(signal);
    if (hub === null) return;
    const { first } = hub;
    if (log !== first.log) return this.#lost(history);
    // records that the hub judged without its first snapshot, of which some key may lie before its memory
    let needsReread = false;
    const reread = positions.map((position, partition) => {
      const acknowledged = checkpoint.acknowledged[partition] ?? null;
      const isEarly = this.#compare(position, first.ends[partition] ?? null) < 0;
      const isBefore = this.#compare(acknowledged, first.acknowledged[partition] ?? null) < 0;
      if (!isEarly || !isBefore) return position;
      needsReread = true;
      return acknowledged;
    });
    this.#state = {
      kind: 'bus',
      bus: new TickBusReader(this.#tools.hubTools, hub, positions, needsReread ? reread : null),
      hub,
      ids: new BusIds(log, checkpoint),
      checkpoint,
      ends,
      history,
    };
  }

  async #readBus(state: State & { kind: 'bus' }, signal: AbortSignal): Promise<ReadStep> {
    const { bus, hub, ends } = state;
    const { fanOut } = hub;
    if (hub.isOver) return this.#moveOn(state);
    if (!this.#isAtLeast(fanOut.positions, bus.positions)) {
      // a position that this process has not reached yet, or one of nothing
      if (!this.#isAtLeast(ends, bus.positions)) throw this.#gone();
      await unlessAborted(fanOut.news(), signal);
      return NOTHING;
    }
    if (!fanOut.covers(bus.positions) || bus.isRereading) return this.#readLog(state, signal);
    if (this.#release !== null) {
      await this.pause();
      return NOTHING;
    }
    if (bus.positions.every((place, partition) => place === fanOut.positions[partition])) {
      if (this.#isAtLeast(bus.positions, ends)) return { kind: 'memory', fanOut, positions: bus.positions };
      await unlessAborted(fanOut.news(), signal);
      return NOTHING;
    }
    let running = bus.positions;
    const { placed, positions } = fanOut.since(running, MEMORY_EVENTS);
    const found = placed.map(({ event, partition, position, takenMs }) => {
      running = running.with(partition, position);
      return { tick: (event as TickLiveEvent).tick, partition, position, takenMs, positions: running };
    });
    bus.positions = positions;
    return this.#deliver(
      state,
      found.filter(({ tick }) => !bus.hasKey(tick)),
    );
  }

  async #readLog(state: State & { kind: 'bus' }, signal: AbortSignal): Promise<ReadStep> {
    this.#release ??= await this.#tools.slots.take(signal);
    if (this.#release === null) return NOTHING;
    const before = state.bus.reached;
    const found = (await state.bus.next()) ?? [];
    return this.#deliver(
      state,
      found.map((each) => ({ ...each, positions: before.with(each.partition, each.position) })),
    );
  }

  /** Without what the subscriber has already, each under an id of its own. */
  async #deliver(
    state: State & { kind: 'bus' },
    found: readonly (FirstTick & { positions: Vector })[],
  ): Promise<ReadStep> {
    const { ends, checkpoint } = state;
    const ids = this.#idsOf(state, found[0]?.positions ?? ends);
    const wanted = found
      .map((each) => ({ ...each, event: tickEvent(each.tick, ids.of(each.positions, each.takenMs)) }))
      .filter(({ event }) => this.#predicate(event));
    const asked = wanted.filter(
      ({ partition, position }) => this.#compare(position, ends[partition] ?? null) <= 0,
    );
    const shown = new Set<unknown>();
    if (asked.length > 0) {
      const keys = asked.map(({ tick }) => tick);
      const visible = await this.#tools.table.visible(keys, checkpoint.snapshot, 'client');
      for (const [at, each] of asked.entries()) if (visible[at]) shown.add(each);
    }
    const unseen = wanted.filter((each) => !shown.has(each));
    const last = unseen.at(-1);
    if (last !== undefined) {
      state.history = null;
      this.#takenUs = BigInt(Math.floor(last.takenMs * 1000));
    }
    return { kind: 'events', events: unseen.map(({ event }) => event) };
  }

  /** Of the newest checkpoint that ids at this position may hold: one who resumes after a restart reads from there. */
  #idsOf({ hub, bus, ids, ends }: State & { kind: 'bus' }, positions: Vector): BusIds {
    const isPast =
      !bus.isRereading && this.#isAtLeast(positions, ends) && this.#isAtLeast(positions, hub.first.ends);
    return isPast ? hub.idsAt(positions) : ids;
  }

  async #moveOn({ hub, bus, checkpoint, history }: State & { kind: 'bus' }): Promise<ReadStep> {
    await this.pause();
    const place = {
      kind: 'bus' as const,
      log: hub.first.log,
      checkpoint,
      positions: bus.reached,
      takenMs: Number(this.#takenUs / 1000n),
    };
    this.#state = { kind: 'placed', place, ends: null, history };
    return NOTHING;
  }

  /** What follows is not on the bus any more. */
  async #lost(history: BeforeBus | null): Promise<void> {
    await this.pause();
    if (history === null || history.round + 1 >= ROUNDS_MAX) throw this.#gone();
    const taken = await this.#tools.checkpoints.take();
    const { fromUs, checkpoint } = history.place;
    const place = {
      kind: 'history' as const,
      log: taken.log,
      checkpoint: taken,
      fromUs,
      without: checkpoint.snapshot,
      last: null,
    };
    this.#startHistory(place, taken.ends, history.round + 1);
  }

  #gone(): LiveGoneError {
    const from = this.#takenUs - MARGIN_US;
    const message =
      'what follows is not on the bus any more: resume_from reads it from the history, where some may come again';
    return new LiveGoneError(message, from, startId(from));
  }

  #isAtLeast(a: Vector, b: Vector): boolean {
    return isAtLeast((one, other) => this.#tools.hubTools.bus.compare(one, other), a, b);
  }

  #compare(a: string | null, b: string | null): number {
    return comparePlaces((one, other) => this.#tools.hubTools.bus.compare(one, other), a, b);
  }
}

const NOTHING: ReadStep = { kind: 'events', events: [] };
