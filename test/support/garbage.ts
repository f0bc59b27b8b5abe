import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

const ROUNDS = 4;

/** Objects that are let go here: how many of them anybody else still holds. */
export class WeakCrowd {
  readonly #refs: WeakRef<object>[] = [];

  get size(): number {
    return this.#refs.length;
  }

  add(object: object): void {
    this.#refs.push(new WeakRef(object));
  }

  /**
   * Collects the garbage first. What one collection leaves may still lie in a register or an optimised frame: whoever is gone
   * after any of a few was held by nobody.
   */
  async alive(): Promise<number> {
    let least = this.size;
    for (let round = 0; round < ROUNDS; round += 1) {
      // what was made or looked at in this turn of the event loop is kept until its end
      await new Promise(setImmediate);
      collect();
      least = Math.min(least, this.#refs.filter((ref) => ref.deref() !== undefined).length);
    }
    return least;
  }
}
