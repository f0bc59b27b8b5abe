interface Stretch {
  first: string;
  last: string;
}

/** stretches of a partition; one is a burst that was sent again, however long */
const STRETCHES_MAX = 100_000;

/**
 * The records of a partition, from where the hub began to where it is, that were repetitions. They are few and come in bursts;
 * so what the hub decided about a record can be looked up by its position, by readers that are behind.
 */
export class Repetitions {
  readonly #compare: (a: string, b: string) => number;
  #stretches: Stretch[] = [];
  #forgottenUpTo: string | null = null;
  #goesOn = false;

  constructor(compare: (a: string, b: string) => number) {
    this.#compare = compare;
  }

  /** At or below this nothing is known; null: everything is. */
  get forgottenUpTo(): string | null {
    return this.#forgottenUpTo;
  }

  /** Every record in order, whether it is a repetition or not. */
  note(position: string, isRepetition: boolean): void {
    const stretch = this.#stretches.at(-1);
    if (!isRepetition) this.#goesOn = false;
    else if (this.#goesOn && stretch !== undefined) stretch.last = position;
    else {
      this.#stretches.push({ first: position, last: position });
      this.#goesOn = true;
      if (this.#stretches.length > STRETCHES_MAX) this.#forgetHalf();
    }
  }

  has(position: string): boolean {
    let [low, high] = [0, this.#stretches.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#compare(this.#stretches[middle].last, position) < 0) low = middle + 1;
      else high = middle;
    }
    const found = this.#stretches[low];
    return found !== undefined && this.#compare(found.first, position) <= 0;
  }

  #forgetHalf(): void {
    const gone = this.#stretches.splice(0, STRETCHES_MAX / 2);
    this.#forgottenUpTo = gone.at(-1)?.last ?? this.#forgottenUpTo;
  }
}
