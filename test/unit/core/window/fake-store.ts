import { isDeepStrictEqual } from 'node:util';
import { barId, mergeBars, type Bar, type BarRow } from '../../../../src/core/market/bar.ts';
import type { TickEvent } from '../../../../src/core/market/event.ts';
import { BarBuilder } from '../../../../src/core/window/bar-builder.ts';
import { extendWindow } from '../../../../src/core/window/extension.ts';
import {
  finerOf,
  openRollups,
  rollupsOf,
  windowEndUs,
  windowStartUs,
} from '../../../../src/core/window/rollup.ts';
import type { BarRules } from '../../../../src/core/window/rules.ts';
import {
  bothContested,
  type KnownSymbol,
  type LateWindow,
  type Resume,
  type Step,
  type SymbolKey,
} from '../../../../src/core/window/step.ts';
import type { Watermark } from '../../../../src/core/window/symbol-windows.ts';

type ReplaceRule = 'differs' | 'not_poorer' | 'richer';
type ClosedEnd = (key: SymbolKey) => number | null;

const MAY_REPLACE: Readonly<Record<ReplaceRule, (row: Bar, stored: Bar) => boolean>> = {
  differs: () => true,
  not_poorer: (row, stored) => row.tickCount >= stored.tickCount,
  richer: (row, stored) => row.tickCount > stored.tickCount,
};

/** tick_data: the set of distinct live ticks, the first content of each. */
export class TickData {
  readonly ticks = new Map<string, TickEvent>();

  /** False: another content of it is stored, which stays. */
  add(tick: TickEvent): boolean {
    const stored = this.ticks.get(tick.eventId) ?? tick;
    this.ticks.set(tick.eventId, stored);
    return stored.price === tick.price && stored.size === tick.size;
  }

  bar(provider: string, symbol: string, startUs: number, endUs: number): Bar | null {
    return barOfTicks(
      [...this.ticks.values()].filter((tick) => {
        const at = Number(tick.srcTs);
        return tick.provider === provider && tick.symbol === symbol && at >= startUs && at < endUs;
      }),
    );
  }
}

export function barOfTicks(ticks: readonly TickEvent[]): Bar | null {
  const builder = new BarBuilder();
  for (const { srcTs, seq, price, size } of ticks) builder.add(Number(srcTs), seq, price, size);
  return builder.bar();
}

/** What src/store does with steps, in memory: the same rules, row by row. */
export class FakeStore {
  resume: Resume = { position: null, openAfter: null, openCount: 0 };
  readonly watermarks = new Map<string, SymbolKey & Watermark>();
  readonly bars = new Map<string, BarRow>();
  late = new Map<string, LateWindow>();
  dropped = 0;
  readonly tickData = new TickData();
  /** final bars whose content another one took */
  revisions = 0;

  known(windowMs: number): KnownSymbol[] {
    return [...this.watermarks.values()].map((symbol) => ({
      ...symbol,
      rollups: openRollups(symbol.closedEndUs, windowMs).flatMap((at) => {
        const row = this.bars.get(idOf({ ...symbol, ...at }));
        return row === undefined ? [] : [row];
      }),
    }));
  }

  /** Returns the rollups that are stored otherwise than the step has them. */
  commit(step: Step, { windowMs, late }: BarRules, closedEndUs: ClosedEnd): BarRow[] {
    const { position, openAfter, openCount } = step;
    this.resume = { position, openAfter, openCount };
    this.dropped += step.dropped;
    for (const mark of step.watermarks) this.watermarks.set(symbolId(mark), mark);
    const restore: BarRow[] = [];
    const marks = [...step.late];
    for (const isLive of [true, false]) {
      const windows = step.windows.filter(({ runId }) => (runId === 0n) === isLive);
      const differing = this.#insert(windows);
      const changed: BarRow[] = [];
      if (isLive && late === 'revise') {
        marks.push(...differing.map((row) => lateOf(row, position)));
      } else {
        changed.push(...this.#replace(differing, 'richer'));
      }
      if (!isLive) changed.push(...this.#extend(step, windowMs));
      const rollups = step.rollups.filter(({ runId }) => (runId === 0n) === isLive);
      const named = this.#writeRollups(rollups);
      restore.push(...this.#remerge(changed, named, windowMs, closedEndUs));
    }
    for (const mark of marks) {
      const known = this.late.get(lateId(mark));
      const contested = known === undefined ? mark.contested : bothContested(known.contested, mark.contested);
      this.late.set(lateId(mark), { ...mark, contested });
    }
    return restore;
  }

  /** Recomputes late windows. Returns the rollups that followed. */
  revise(due: readonly LateWindow[], windowMs: number, closedEndUs: ClosedEnd): BarRow[] {
    const rows = due.flatMap(({ provider, symbol, startUs, endUs, contested }) => {
      const bar = this.tickData.bar(provider, symbol, startUs, endUs);
      if (bar === null) return [];
      const intervalMs = (endUs - startUs) / 1000;
      const row = { runId: 0n, provider, symbol, intervalMs, startUs, bar, isFinal: true, lastSeq: 0n };
      const had = this.bars.get(idOf(row))?.bar.tickCount;
      return contested === 'alone' && had !== bar.tickCount ? [] : [row];
    });
    const changed = this.#replace(rows, 'not_poorer');
    const rollups = this.#remerge(changed, [], windowMs, closedEndUs);
    for (const window of due) this.late.delete(lateId(window));
    return rollups;
  }

  #insert(rows: readonly BarRow[]): BarRow[] {
    return rows.filter((row) => {
      const stored = this.bars.get(idOf(row));
      if (stored === undefined) this.bars.set(idOf(row), row);
      return stored !== undefined && (differs(row.bar, stored.bar) || !stored.isFinal);
    });
  }

  #replace(rows: readonly BarRow[], rule: ReplaceRule): BarRow[] {
    return rows.flatMap((row) => {
      const stored = this.bars.get(idOf(row));
      if (stored !== undefined) {
        const isOther = differs(row.bar, stored.bar) || (row.isFinal && !stored.isFinal);
        if (!isOther || !MAY_REPLACE[rule](row.bar, stored.bar)) return [];
        if (stored.isFinal) this.revisions += 1;
      }
      const written = { ...row, isFinal: row.isFinal || stored?.isFinal === true };
      this.bars.set(idOf(row), written);
      return [written];
    });
  }

  #writeRollups(rows: readonly BarRow[]): BarRow[] {
    for (const row of rows) {
      const stored = this.bars.get(idOf(row));
      const isBetter =
        stored === undefined ||
        (!stored.isFinal &&
          row.bar.tickCount >= stored.bar.tickCount &&
          (row.isFinal || differs(row.bar, stored.bar)));
      if (isBetter) this.bars.set(idOf(row), row);
    }
    return rows.filter((row) => {
      const stored = this.bars.get(idOf(row));
      return row.isFinal && stored !== undefined && (differs(row.bar, stored.bar) || !stored.isFinal);
    });
  }

  #extend({ extensions }: Step, windowMs: number): BarRow[] {
    const rows = extensions.flatMap(({ ticks, ...key }) => {
      const at = { ...key, intervalMs: windowMs };
      const window = extendWindow(this.bars.get(idOf(at)) ?? null, ticks);
      return window === null ? [] : [{ ...at, isFinal: true, ...window }];
    });
    return this.#replace(rows, 'differs');
  }

  #remerge(
    windows: readonly BarRow[],
    named: readonly BarRow[],
    windowMs: number,
    closedEndUs: ClosedEnd,
  ): BarRow[] {
    const changed: BarRow[] = [];
    let below = windows;
    for (const intervalMs of rollupsOf(windowMs)) {
      const keys = new Map<string, Omit<BarRow, 'bar' | 'isFinal' | 'lastSeq'>>();
      const all = [...below, ...named.filter((row) => row.intervalMs === intervalMs)];
      for (const { runId, provider, symbol, startUs } of all) {
        const key = { runId, provider, symbol, intervalMs, startUs: windowStartUs(startUs, intervalMs) };
        keys.set(idOf(key), key);
      }
      const rows = [...keys.values()].flatMap((key) => {
        const row = this.#merged(key, finerOf(intervalMs, windowMs), windowMs, closedEndUs);
        return row === null ? [] : [row];
      });
      below = this.#replace(rows, 'not_poorer');
      changed.push(...below);
    }
    return changed;
  }

  #merged(
    key: Omit<BarRow, 'bar' | 'isFinal' | 'lastSeq'>,
    finerMs: number,
    windowMs: number,
    closedEndUs: ClosedEnd,
  ): BarRow | null {
    const endUs = windowEndUs(key.startUs, key.intervalMs);
    const finer: BarRow[] = [];
    for (let at = key.startUs; at < endUs; at = windowEndUs(at, finerMs)) {
      const row = this.bars.get(idOf({ ...key, intervalMs: finerMs, startUs: at }));
      if (row !== undefined) finer.push(row);
    }
    let bar = mergeBars(finer.map((row) => row.bar));
    const had = this.bars.get(idOf(key))?.bar.tickCount ?? 0;
    if (key.runId === 0n && finerMs === windowMs && (bar?.tickCount ?? 0) < had) {
      bar = this.tickData.bar(key.provider, key.symbol, key.startUs, endUs) ?? bar;
    }
    if (bar === null) return null;
    const closed = closedEndUs(key);
    return { ...key, bar, isFinal: closed === null || endUs <= closed, lastSeq: finer.at(-1)?.lastSeq ?? 0n };
  }
}

export function idOf(key: Pick<BarRow, 'runId' | 'provider' | 'symbol' | 'intervalMs' | 'startUs'>): string {
  return `${key.runId}|${barId(key)}`;
}

function symbolId({ runId, provider, symbol }: SymbolKey): string {
  return `${runId}|${provider}|${symbol}`;
}

function lateId({ provider, symbol, startUs, endUs }: LateWindow): string {
  return `${provider}|${symbol}|${startUs}|${endUs}`;
}

function lateOf({ provider, symbol, startUs, intervalMs }: BarRow, position: string | null): LateWindow {
  return { provider, symbol, startUs, endUs: windowEndUs(startUs, intervalMs), position };
}

function differs(a: Bar, b: Bar): boolean {
  return !isDeepStrictEqual(a, b);
}
