import type { PartitionReader } from '../../bus/bus.ts';

/** how often the bus is told up to where it may trim, ms */
const RELEASE_MS = 200;

/** Tells the bus which entries no restart would read again: these may be trimmed. */
export class Releases {
  readonly #reader: PartitionReader;
  #released: string | null = null;
  #releasedMs = -Infinity;

  constructor(reader: PartitionReader) {
    this.#reader = reader;
  }

  /** Now and then. A failed release is repeated by the next one. @param after a restart reads behind it; null: from the start */
  release(after: string | null, nowMs: number): void {
    if (after === null || after === this.#released || nowMs - this.#releasedMs < RELEASE_MS) return;
    this.#releasedMs = nowMs;
    this.#released = after;
    this.#reader.release(after).catch(() => (this.#released = null));
  }

  /** At the end: resolves when the bus has it. */
  async releaseLast(after: string | null): Promise<void> {
    if (after !== null) await this.#reader.release(after);
  }
}
