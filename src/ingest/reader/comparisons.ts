import type { Comparison } from '../sequencer/catch-up.ts';

/** The reader thread's questions to the main thread, which alone reads the store: is this tick the one that is stored? */
export class Comparisons {
  readonly #ask: (id: number, number: bigint, bytes: Uint8Array) => void;
  readonly #waiting = new Map<number, (comparison: Comparison) => void>();
  #last = 0;

  constructor(ask: (id: number, number: bigint, bytes: Uint8Array) => void) {
    this.#ask = ask;
  }

  compare(number: bigint, bytes: Uint8Array): Promise<Comparison> {
    this.#last += 1;
    const id = this.#last;
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      this.#ask(id, number, bytes);
    });
  }

  answered(id: number, comparison: Comparison): void {
    this.#waiting.get(id)?.(comparison);
    this.#waiting.delete(id);
  }

  /** The run is over: no answer comes any more. */
  clear(): void {
    for (const resolve of this.#waiting.values()) resolve({ kind: 'pending' });
    this.#waiting.clear();
  }
}
