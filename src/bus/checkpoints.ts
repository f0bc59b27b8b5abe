import type { GroupMarks } from './bus.ts';

/**
 * Marks that belong to one log: a position means nothing on another server, or in a topic that was made anew, and taking it
 * for one's own would pass over records. Each is kept together with the name of its log, and one of another log counts as
 * none: the group then begins at the beginning.
 */
export class PlacedMarks implements GroupMarks {
  readonly #marks: GroupMarks;
  readonly #place: (topic: string) => Promise<string>;

  /** @param place a name of the topic's log that no other log ever has, without `|` */
  constructor(marks: GroupMarks, place: (topic: string) => Promise<string>) {
    this.#marks = marks;
    this.#place = place;
  }

  async read(topic: string, group: string, partition: number): Promise<string | null> {
    const kept = await this.#marks.read(topic, group, partition);
    if (kept === null) return null;
    const prefix = `${await this.#place(topic)}|`;
    return kept.startsWith(prefix) ? kept.slice(prefix.length) : null;
  }

  async write(topic: string, group: string, partition: number, position: string): Promise<void> {
    await this.#marks.write(topic, group, partition, `${await this.#place(topic)}|${position}`);
  }

  async starting(topic: string, group: string, partition: number, position: string): Promise<number> {
    return this.#marks.starting(topic, group, partition, `${await this.#place(topic)}|${position}`);
  }

  drop(topic: string, group: string): Promise<void> {
    return this.#marks.drop(topic, group);
  }
}
