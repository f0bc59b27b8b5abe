import type { GroupCheckpoints } from './bus.ts';

/** Checkpoints lag behind what was acknowledged by about this, ms. */
export const CHECKPOINT_MS = 2000;

/**
 * Checkpoints that are valid for one log only: a position means nothing on another server or in a topic that was made
 * anew, and using it there would skip records. Each is stored with the name of its log, and a checkpoint of another log
 * counts as none: the group then begins at the beginning.
 */
export class LogScopedCheckpoints implements GroupCheckpoints {
  readonly #checkpoints: GroupCheckpoints;
  readonly #logName: (topic: string) => Promise<string>;

  /** @param logName a name of the topic's log that no other log ever has, without `|` */
  constructor(checkpoints: GroupCheckpoints, logName: (topic: string) => Promise<string>) {
    this.#checkpoints = checkpoints;
    this.#logName = logName;
  }

  async read(topic: string, group: string, partition: number): Promise<string | null> {
    const kept = await this.#checkpoints.read(topic, group, partition);
    if (kept === null) return null;
    const prefix = `${await this.#logName(topic)}|`;
    return kept.startsWith(prefix) ? kept.slice(prefix.length) : null;
  }

  async write(topic: string, group: string, partition: number, position: string): Promise<void> {
    await this.#checkpoints.write(topic, group, partition, `${await this.#logName(topic)}|${position}`);
  }

  async starting(topic: string, group: string, partition: number, position: string): Promise<number> {
    return this.#checkpoints.starting(topic, group, partition, `${await this.#logName(topic)}|${position}`);
  }

  drop(topic: string, group: string): Promise<void> {
    return this.#checkpoints.drop(topic, group);
  }
}
