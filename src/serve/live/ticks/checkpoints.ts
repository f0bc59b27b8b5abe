import type { StreamBus } from '../../../bus/bus.ts';
import type { SnapshotText } from '../../../store/live/ticks.ts';
import { latest, type Vector } from '../vector.ts';
import { logTag, type Checkpoint } from './place.ts';

export interface TakenCheckpoint extends Checkpoint {
  log: string;
  /** where the partitions ended after the snapshot was taken */
  ends: Vector;
}

export interface CheckpointSource {
  bus: Pick<StreamBus, 'partitions' | 'groups' | 'end' | 'logName' | 'compare'>;
  topic: string;
  /** of the tick consumer: what it acknowledged is committed */
  group: string;
  snapshot: () => Promise<SnapshotText>;
}

/**
 * Takes checkpoints, in this order: what the tick consumer has acknowledged, then the database's snapshot, then where the
 * bus ends. So the snapshot shows all that was acknowledged, and what the bus takes behind those ends was taken after it.
 */
export class Checkpoints {
  readonly #source: CheckpointSource;
  #acknowledged: Vector | null = null;
  #log: string | null = null;
  #taking: Promise<TakenCheckpoint> | null = null;
  #next: Promise<TakenCheckpoint> | null = null;

  constructor(source: CheckpointSource) {
    this.#source = source;
  }

  /** Calls that come while one is under way share the next one. Rejects as bus and database do. */
  take(): Promise<TakenCheckpoint> {
    if (this.#taking === null) return this.#begin();
    this.#next ??= this.#taking.then(
      () => this.#begin(),
      () => this.#begin(),
    );
    return this.#next;
  }

  #begin(): Promise<TakenCheckpoint> {
    this.#next = null;
    const taking = this.#take().finally(() => {
      if (this.#taking === taking) this.#taking = null;
    });
    this.#taking = taking;
    return taking;
  }

  async #take(): Promise<TakenCheckpoint> {
    const { bus, topic, group, snapshot: ask } = this.#source;
    const log = logTag(await bus.logName(topic));
    const partitions = Array.from({ length: bus.partitions(topic) }, (_, partition) => partition);
    const infos = (await bus.groups(topic)).filter((info) => info.group === group);
    const told = partitions.map(
      (partition) => infos.find((info) => info.partition === partition)?.acknowledged ?? null,
    );
    // of a log made anew nothing is acknowledged; otherwise what was once, stays so (a group may be dropped and made again)
    const known = log === this.#log ? this.#acknowledged : null;
    const compare = (a: string, b: string): number => bus.compare(a, b);
    const acknowledged = known === null ? told : latest(compare, known, told);
    const snapshot = await ask();
    const ends = await Promise.all(partitions.map((partition) => bus.end(topic, partition)));
    this.#acknowledged = acknowledged;
    this.#log = log;
    return { log, acknowledged, snapshot, ends };
  }
}
