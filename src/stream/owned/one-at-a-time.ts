type State =
  { kind: 'idle' } | { kind: 'committing'; done: Promise<void> } | { kind: 'failed'; error: unknown };

/**
 * The transactions of a partition, one at a time.
 *
 *   state       event                                   next
 *   idle        begin()                                 committing
 *   committing  the transaction is committed            idle
 *   committing  fenced, given up, or a permanent error  failed      settled() rejects with it from now on
 */
export class OneAtATime {
  #state: State = { kind: 'idle' };

  get isCommitting(): boolean {
    return this.#state.kind === 'committing';
  }

  /** None may be in flight. */
  begin(transaction: Promise<void>): void {
    const done = transaction.then(
      () => {
        this.#state = { kind: 'idle' };
      },
      (error: unknown) => {
        this.#state = { kind: 'failed', error };
      },
    );
    this.#state = { kind: 'committing', done };
  }

  /** Resolves when none is in flight. Rejects with the error that ended one, from then on every time. */
  async settled(): Promise<void> {
    if (this.#state.kind === 'committing') await this.#state.done;
    if (this.#state.kind === 'failed') throw this.#state.error;
  }
}
