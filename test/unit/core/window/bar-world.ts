import assert from 'node:assert/strict';
import type { MarketEvent, TickEvent } from '../../../../src/core/market/event.ts';
import { PartitionWindows } from '../../../../src/core/window/partition-windows.ts';
import type { BarRules, EventOutcome } from '../../../../src/core/window/rules.ts';
import { windowEndUs, windowStartUs } from '../../../../src/core/window/rollup.ts';
import type { LateWindow, SymbolKey, Step } from '../../../../src/core/window/step.ts';
import { FakeStore } from './fake-store.ts';

/** What the partition holds at one position. */
export interface Entry {
  /** ms by the clock of the bus */
  takenMs: number;
  event: MarketEvent | null;
}

/** What happens next to the micro-batcher of the partition. */
export type Action =
  | { kind: 'read'; count: number }
  | { kind: 'idle'; quietMs: number }
  /** a step is taken; it is stored later, by `store` or the next step */
  | { kind: 'step' }
  | { kind: 'store' }
  | { kind: 'revise' }
  /** the tick consumer goes on */
  | { kind: 'consume'; count: number }
  /** another member of its group commits an entry before those that precede it */
  | { kind: 'ahead'; offset: number }
  /** a program writes the tick of an entry into tick_data, with another price */
  | { kind: 'outside'; which: number }
  /** the minutes in which the tick consumer met another content are looked at */
  | { kind: 'recheck' }
  /** everything that is not stored is lost; `isStored`: what was under way was stored, only nobody was told */
  | { kind: 'crash'; isStored: boolean; windowMs: number | null }
  /** the bus loses entries that windows are open for, as far as the tick consumer is; then a crash */
  | { kind: 'lose'; count: number }
  /** an answer without entries although there are some */
  | { kind: 'silence' };

/** One partition from its first entry to its last, with its reader, its store and the tick consumer. */
export class BarWorld {
  readonly store = new FakeStore();
  rules: BarRules;
  readonly #log: readonly Entry[];
  readonly #lost = new Set<number>();
  windows: PartitionWindows;
  /** index of the next entry */
  #next = 0;
  #consumed = 0;
  /** minutes in which the tick consumer met another content than the stored one, and those still to be looked at */
  #contested: LateWindow[] = [];
  #unchecked: LateWindow[] = [];
  #pending: Step | null = null;
  /** of each entry when it was new */
  readonly fates: (EventOutcome | null)[] = [];
  /** what was closed of each symbol when windows got the length they have */
  sinceUs = new Map<string, number>();
  lostEntries = 0;

  constructor(rules: BarRules, log: readonly Entry[]) {
    this.rules = rules;
    this.#log = log;
    this.windows = this.#load();
  }

  act(action: Action): void {
    if (action.kind === 'read') this.read(action.count);
    else if (action.kind === 'idle') this.#idle(action.quietMs);
    else if (action.kind === 'step') this.step();
    else if (action.kind === 'store') this.#commit();
    else if (action.kind === 'revise') this.#revise();
    else if (action.kind === 'consume') this.#consume(action.count);
    else if (action.kind === 'ahead') this.#commitTick(this.#consumed + action.offset);
    else if (action.kind === 'outside') this.#outside(action.which);
    else if (action.kind === 'recheck') this.#recheck();
    else if (action.kind === 'silence') this.#caughtUp();
    else if (action.kind === 'lose') this.#lose(action.count);
    else this.#crash(action.isStored, action.windowMs);
  }

  /** Everything is read, closed, stored and revised. */
  finish(): void {
    this.#consume(Infinity);
    this.read(Infinity);
    this.#caughtUp();
    this.step();
    this.#commit();
    this.#idle(1e9);
    this.step();
    this.#commit();
    this.#recheck();
    this.step();
    this.#commit();
    for (let round = 0; this.store.late.size > 0; round += 1) {
      assert.ok(round < 10, 'late windows are never due');
      this.#revise();
    }
    assert.equal(this.windows.activeWindows, 0);
    assert.equal(this.windows.hasWork, false);
    if (this.#lost.size > 0) return;
    assert.equal(this.store.resume.openCount, 0);
    assert.equal(this.store.resume.openAfter, this.store.resume.position);
  }

  read(count: number): void {
    let read = 0;
    for (; this.#next < this.#log.length && read < count; this.#next += 1) {
      if (this.#lost.has(this.#next)) continue;
      const { takenMs, event } = this.#log[this.#next];
      const isOld = this.windows.isOld(`${this.#next}`);
      const fate = this.windows.apply(`${this.#next}`, takenMs, event);
      if (!isOld) this.fates[this.#next] = fate;
      read += 1;
    }
    if (read === 0) this.#caughtUp();
    this.#noteLost();
  }

  step(): void {
    this.#commit();
    if (this.windows.isRebuilding) return;
    const step = this.windows.takeStep();
    if (step.position === null) return;
    this.#pending = step;
    this.#checkOpen(step);
  }

  #commit(): void {
    if (this.#pending === null) return;
    const rows = this.store.commit(this.#pending, this.rules, (key) => this.windows.takenEndUs(key));
    this.#pending = null;
    for (const row of rows) this.windows.restoreRollup(row);
  }

  #revise(): void {
    if (this.#pending !== null || this.windows.isRebuilding) return;
    const due = [...this.store.late.values()].filter(({ provider, symbol, endUs, position }) => {
      const closedUs = this.windows.takenEndUs({ runId: 0n, provider, symbol });
      if (closedUs !== null && endUs > closedUs) return false;
      return position === null || Number(position) < this.#consumed;
    });
    const closedEnd = (key: SymbolKey): number | null => this.windows.takenEndUs(key);
    for (const row of this.store.revise(due, this.rules.windowMs, closedEnd)) this.windows.restoreRollup(row);
  }

  #consume(count: number): void {
    for (; this.#consumed < this.#log.length && count > 0; count -= 1) {
      this.#commitTick(this.#consumed);
      this.#consumed += 1;
    }
  }

  #commitTick(at: number): void {
    const tick = this.#liveTick(at);
    if (tick === null || this.store.tickData.add(tick)) return;
    const { provider, symbol, srcTs } = tick;
    const startUs = windowStartUs(Number(srcTs), 60_000);
    const minute = { provider, symbol, startUs, endUs: windowEndUs(startUs, 60_000), position: null };
    this.#contested.push(minute);
    this.#unchecked.push(minute);
  }

  #outside(which: number): void {
    const tick = this.#log.length === 0 ? null : this.#liveTick(which % this.#log.length);
    if (tick !== null) this.store.tickData.add({ ...tick, price: tick.price / 2 + 1 });
  }

  #liveTick(at: number): TickEvent | null {
    const event = at < this.#log.length ? this.#log[at].event : null;
    return event?.kind === 'tick' && event.replayRunId === null ? event : null;
  }

  #recheck(): void {
    if (this.windows.isRebuilding || this.rules.late !== 'revise') return;
    this.#unchecked = this.#unchecked
      .map((minute) => ({ ...minute, startUs: this.windows.recheck(minute) }))
      .filter(({ startUs, endUs }) => startUs < endUs);
  }

  #idle(quietMs: number): void {
    this.windows.closeIdle(this.#next === this.#log.length ? quietMs : 0);
  }

  #caughtUp(): void {
    this.windows.caughtUp();
    this.#noteLost();
  }

  #crash(isStored: boolean, windowMs: number | null): void {
    if (isStored) this.#commit();
    this.#pending = null;
    if (windowMs !== null && windowMs !== this.rules.windowMs) {
      this.rules = { ...this.rules, windowMs };
      for (const { runId, provider, symbol, closedEndUs } of this.store.watermarks.values()) {
        this.sinceUs.set(`${runId}|${provider}|${symbol}`, closedEndUs);
      }
    }
    this.windows = this.#load();
    this.#unchecked = [...this.#contested];
  }

  #lose(count: number): void {
    const { position, openAfter } = this.store.resume;
    const first = openAfter === null ? 0 : Number(openAfter) + 1;
    const end = Math.min(first + count, this.#consumed, position === null ? 0 : Number(position) + 1);
    for (let at = 0; at < end; at += 1) this.#lost.add(at);
    this.#crash(false, null);
  }

  #load(): PartitionWindows {
    const { openAfter } = this.store.resume;
    this.#next = openAfter === null ? 0 : Number(openAfter) + 1;
    return new PartitionWindows(
      this.rules,
      this.store.resume,
      this.store.known(this.rules.windowMs),
      (a, b) => Number(a) - Number(b),
    );
  }

  #noteLost(): void {
    this.lostEntries += this.windows.lostEntries;
    this.windows.lostEntries = 0;
  }

  /** A restart here would read again what the step says it would, and miss nothing that is open. */
  #checkOpen({ position, openAfter, openCount }: Step): void {
    const first = openAfter === null ? 0 : Number(openAfter) + 1;
    let left = 0;
    for (let at = first; at <= Number(position); at += 1) if (!this.#lost.has(at)) left += 1;
    assert.ok(openCount >= left, 'entries between openAfter and position');
    if (this.#lost.size === 0) assert.equal(openCount, left, 'entries between openAfter and position');
  }
}
