/** Ids that are remembered: more than a server repeats where a connection follows another. */
const REMEMBERED_MAX = 4096;

/** Which of the newest events were there already. */
export class Seam {
  readonly #known = new Set<string>();

  /** True the first time. */
  isNew(id: string): boolean {
    if (this.#known.has(id)) return false;
    this.#known.add(id);
    if (this.#known.size > REMEMBERED_MAX) {
      const [oldest] = this.#known;
      this.#known.delete(oldest);
    }
    return true;
  }
}
