import { lateId } from '../../store/bars/state.ts';
import type { LateWindow } from '../../core/window/step.ts';

/** Closed windows of a partition that got late events and wait for the tick consumer; the rows are in bars_late_windows. */
export class LateWindows {
  readonly #windows = new Map<string, LateWindow>();

  constructor(known: readonly LateWindow[]) {
    this.add(known);
  }

  get size(): number {
    return this.#windows.size;
  }

  /** A later mark of the same window replaces the earlier one. */
  add(windows: readonly LateWindow[]): void {
    for (const window of windows) this.#windows.set(lateId(window), window);
  }

  /** Up to `limit` windows that need not wait any longer. */
  due(isDue: (window: LateWindow) => boolean, limit: number): LateWindow[] {
    const due: LateWindow[] = [];
    for (const window of this.#windows.values()) {
      if (!isDue(window)) continue;
      due.push(window);
      if (due.length === limit) break;
    }
    return due;
  }

  /** Removes windows that were recomputed, unless they were marked again in the meantime. */
  remove(windows: readonly LateWindow[]): void {
    for (const window of windows) {
      if (this.#windows.get(lateId(window)) === window) this.#windows.delete(lateId(window));
    }
  }
}
