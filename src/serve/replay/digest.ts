import { createSHA256, type IHasher } from 'hash-wasm';

/**
 * SHA-256 over everything that a run emitted (RowBytes says of which bytes), across restarts: its state can be stored and taken up
 * again, which node:crypto cannot do.
 */
export class RunDigest {
  readonly #hasher: IHasher;
  #isKnown = true;

  private constructor(hasher: IHasher) {
    this.#hasher = hasher;
  }

  /** @param state as state() gave it; null: the digest is not known any more; undefined: nothing was emitted */
  static async from(state: Uint8Array | null | undefined): Promise<RunDigest> {
    const digest = new RunDigest(await createSHA256());
    digest.#hasher.init();
    if (state === undefined) return digest;
    try {
      if (state === null) digest.#isKnown = false;
      else digest.#hasher.load(state);
    } catch {
      // another version of the library wrote it
      digest.#isKnown = false;
    }
    return digest;
  }

  update(bytes: Uint8Array): void {
    if (this.#isKnown) this.#hasher.update(bytes);
  }

  /** Null: it is not known. */
  state(): Buffer | null {
    return this.#isKnown ? Buffer.from(this.#hasher.save()) : null;
  }

  /** In hexadecimal; ends it. Null: it is not known. */
  end(): string | null {
    return this.#isKnown ? this.#hasher.digest('hex') : null;
  }
}
