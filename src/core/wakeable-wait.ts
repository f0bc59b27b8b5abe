/** A wait that something else may end early. One at a time; a wake() while nobody waits is not remembered. */
export class WakeableWait {
  #end: (() => void) | null = null;

  /** Resolves after `ms`, or at wake(); with Infinity only then. */
  wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        this.#end = null;
        resolve();
      };
      const timer = ms === Infinity ? undefined : setTimeout(end, ms);
      this.#end = end;
    });
  }

  wake(): void {
    this.#end?.();
  }
}
