import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from 'pg';
import { isConnectionLoss, openClient } from './content/oracle.ts';
import type { IngestHarness } from './harness.ts';

/** between two looks at the least; a look that takes long is followed by a pause as long, for the sake of the others */
const PAUSE_MS = 200;

/**
 * Looks at the store again and again while a scenario goes on, through a session of its own: what is visible is whole
 * at every moment. A server that is away is waited for.
 */
export class Watch {
  looks = 0;
  readonly #harness: IngestHarness;
  #failure: Error | null = null;
  #isStopped = false;
  readonly #running: Promise<void>;

  constructor(harness: IngestHarness) {
    this.#harness = harness;
    this.#running = this.#run();
  }

  /** @throws what it saw that must not be; before the end of the scenario, too */
  assertGood(): void {
    if (this.#failure !== null) throw this.#failure;
  }

  /** How often it looked. */
  async stop(): Promise<number> {
    this.#isStopped = true;
    await this.#running;
    this.assertGood();
    return this.looks;
  }

  async #run(): Promise<void> {
    let client: Client | null = null;
    while (!this.#isStopped && this.#failure === null) {
      const beganMs = performance.now();
      try {
        client ??= await openClient(this.#harness.databaseUrl);
        await this.#harness.look(client);
        this.looks += 1;
      } catch (error) {
        if (!isConnectionLoss(error)) this.#failure = error as Error;
        await client?.end().catch(() => {});
        client = null;
      }
      await delay(Math.max(PAUSE_MS, performance.now() - beganMs));
    }
    await client?.end().catch(() => {});
  }
}

/** Does the work while a watch looks at the store; the figures then say how often it did. */
export async function watched<T extends object>(
  harness: IngestHarness,
  work: (watch: Watch) => Promise<T>,
): Promise<T & { looks: number }> {
  const watch = new Watch(harness);
  let figures: T;
  try {
    figures = await work(watch);
  } catch (error) {
    // what it saw is nearer to the cause
    await watch.stop();
    throw error;
  }
  return { ...figures, looks: await watch.stop() };
}
