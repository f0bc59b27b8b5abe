import { lateId } from '../../store/bars/state.ts';
import { bothContested, type LateWindow } from '../../core/window/step.ts';

/** Closed windows of a partition that got late events and wait for the tick consumer; the rows are in bars_late_windows. */
export class LateWindows {
  readonly #windows = new Map<string, LateWindow>();

  constructor(known: readonly LateWindow[]) {
    this.add(known);
  }

  get size(): number {
    return this.#windows.size;
  }

  /** Of two marks of one window the later one decides what is waited for. */
  add(windows: readonly LateWindow[]): void {
    for (const window of windows) {
      const known = this.#windows.get(lateId(window));
      const contested =
        known === undefined ? window.contested : bothContested(known.contested, window.contested);
      this.#windows.set(lateId(window), contested === window.contested ? window : { ...window, contested });
    }
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
