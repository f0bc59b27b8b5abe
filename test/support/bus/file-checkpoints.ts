import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { GroupCheckpoints } from '../../../src/bus/bus.ts';

interface Mark {
  acknowledged: string | null;
  startPosition: string | null;
  startCount: number;
}

/** Marks of groups in a folder: what the table bus_marks is to the service, shared by processes without a database. */
export class FileCheckpoints implements GroupCheckpoints {
  readonly #folder: string;

  constructor(folder: string) {
    mkdirSync(folder, { recursive: true });
    this.#folder = folder;
  }

  async read(topic: string, group: string, partition: number): Promise<string | null> {
    return this.#load(topic, group, partition).acknowledged;
  }

  /** The checkpoint without the name of its log (src/bus/checkpoints.ts). */
  async position(topic: string, group: string, partition: number): Promise<string | null> {
    return (await this.read(topic, group, partition))?.split('|').at(-1) ?? null;
  }

  async write(topic: string, group: string, partition: number, position: string): Promise<void> {
    this.#save(topic, group, partition, {
      ...this.#load(topic, group, partition),
      acknowledged: position,
    });
  }

  async starting(topic: string, group: string, partition: number, position: string): Promise<number> {
    const checkpoint = this.#load(topic, group, partition);
    const startCount = checkpoint.startPosition === position ? checkpoint.startCount + 1 : 1;
    this.#save(topic, group, partition, { ...checkpoint, startPosition: position, startCount });
    return startCount;
  }

  async drop(topic: string, group: string): Promise<void> {
    for (const name of readdirSync(this.#folder)) {
      if (name.startsWith(`${topic}~${group}~`)) rmSync(join(this.#folder, name));
    }
  }

  #path(topic: string, group: string, partition: number): string {
    return join(this.#folder, `${topic}~${group}~${partition}`);
  }

  #load(topic: string, group: string, partition: number): Mark {
    try {
      return JSON.parse(readFileSync(this.#path(topic, group, partition), 'utf8')) as Mark;
    } catch {
      return { acknowledged: null, startPosition: null, startCount: 0 };
    }
  }

  #save(topic: string, group: string, partition: number, checkpoint: Mark): void {
    const path = this.#path(topic, group, partition);
    const whole = `${path}.${process.pid}.new`;
    writeFileSync(whole, JSON.stringify(checkpoint));
    renameSync(whole, path);
  }
}
