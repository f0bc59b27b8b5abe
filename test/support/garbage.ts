import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Objects that are let go here: how many of them anybody else still holds. */
export class WeakCrowd {
  readonly #refs: WeakRef<object>[] = [];

  get size(): number {
    return this.#refs.length;
  }

  add(object: object): void {
    this.#refs.push(new WeakRef(object));
  }

  /** Collects the garbage first. */
  async alive(): Promise<number> {
    // what was made or looked at in this turn of the event loop is kept until its end
    await new Promise(setImmediate);
    collect();
    return this.#refs.filter((ref) => ref.deref() !== undefined).length;
  }
}
