import type { PassThrough } from 'node:stream';
import type { TargetError, TargetFile } from './target.ts';

/** An upload as a bucket's own library does it. */
export interface ObjectUpload {
  /** what is written to it goes up */
  body: PassThrough;
  /** resolves when the object is there */
  done: Promise<unknown>;
  /** Nothing more goes up. */
  abort(): Promise<void>;
  /** Removes the object that is there. */
  remove(): Promise<void>;
  failure(error: unknown): TargetError;
}

/** A file in a bucket: it is there once its upload is complete, so there is nothing to publish. */
export class ObjectFile implements TargetFile {
  readonly #upload: ObjectUpload;
  #isComplete = false;

  constructor(upload: ObjectUpload) {
    this.#upload = upload;
    upload.done.catch(() => upload.body.destroy()); // write() or finish() says so
  }

  async write(chunk: Uint8Array): Promise<void> {
    const { body } = this.#upload;
    const taken = new Promise<void>((resolve) => {
      // the memory of the chunk is used again
      if (body.write(Buffer.from(chunk))) resolve();
      else body.once('drain', resolve);
    });
    await this.#unlessFailed(taken);
  }

  async finish(): Promise<void> {
    this.#upload.body.end();
    await this.#unlessFailed(this.#upload.done);
    this.#isComplete = true;
  }

  publish(): Promise<void> {
    return Promise.resolve();
  }

  async discard(): Promise<void> {
    const { body, done } = this.#upload;
    await this.#upload.abort().catch(() => {}); // nothing is under way any more
    body.destroy();
    await done.catch(() => {}); // it was aborted, or what failed is said already
    if (this.#isComplete) await this.#upload.remove().catch(() => {}); // the same
  }

  async #unlessFailed(work: Promise<unknown>): Promise<void> {
    try {
      await Promise.race([work, this.#upload.done]);
    } catch (error) {
      throw this.#upload.failure(error);
    }
  }
}
