import type { Client } from 'pg';
import type { HourDigest as SeenHour } from '../../core/signal/row-digest.ts';
import type { StoredKeys, UnsureTick } from '../../core/signal/partition-rows.ts';
import type { Signal } from '../../core/signal/signal.ts';
import type { FeatureTick } from '../../core/feature/tick.ts';
import type { SymbolKey } from '../../core/window/step.ts';
import { microsOf } from '../postgres/time-sql.ts';
import type { RunOnSession } from '../postgres/session.ts';
import {
  anchorOf,
  loadSignalState,
  seenHours,
  writeCheckpoint,
  type Checkpoint,
  type SeenRange,
  type SignalFrame,
  type SignalState,
} from './state.ts';
import { readStoredKeys } from './taken.ts';
import {
  featureTicks,
  lateAmong,
  storedNow,
  type TickCursor,
  type TickIdentity,
  type TickRange,
} from './ticks.ts';
import { beginSignalStep, SignalWriter, type SignalResult } from './write.ts';

/**
 * Signals and the state they rest on. Every method rejects with the server's error or as Session.run does, and may be
 * retried with the same arguments after any failure; SQLSTATE MDF01: the partition was taken over.
 */
export class SignalsStore {
  readonly #run: RunOnSession;
  readonly #writers = new WeakMap<Client, SignalWriter>();

  constructor(run: RunOnSession) {
    this.#run = run;
  }

  load(
    place: { name: SignalFrame['name']; held: { partition: number; position: string | null } },
    log: string,
    shape: string,
  ): Promise<SignalState> {
    return this.#run((client) => loadSignalState(client, place, log, shape));
  }

  /** Stores the signals of a step, or, without a frame, of anybody. */
  write(signals: readonly Signal[], frame: SignalFrame | null, areKnown: boolean): Promise<SignalResult> {
    return this.#run((client) => {
      const writer = this.#writers.get(client) ?? new SignalWriter(client);
      this.#writers.set(client, writer);
      return writer.write(signals, frame, areKnown);
    });
  }

  /** A step of its own: what a restart continues from. */
  checkpoint(frame: SignalFrame, checkpoint: Checkpoint, shape: string): Promise<void> {
    return this.#run(async (client) => {
      const isNew = await beginSignalStep(client, frame);
      if (isNew) await writeCheckpoint(client, frame, checkpoint, shape);
      await client.query(isNew ? 'COMMIT' : 'ROLLBACK');
    });
  }

  /** Where the live features of a symbol began, as a group computes them, µs; null: none has. */
  anchor(group: string, key: Omit<SymbolKey, 'runId'>): Promise<number | null> {
    return this.#run((client) => anchorOf(client, group, key));
  }

  /** The next ticks of one symbol, in order; null: behind the last one there are none. */
  async ticks(range: TickRange, after: TickCursor | null): Promise<FeatureTick[] | null> {
    const ticks = await this.#run((client) => featureTicks(client, range, after));
    return ticks.length === 0 ? null : ticks;
  }

  /** Ticks of these symbols, between the first and the last of these, that came too late for the features of a group. */
  lateAmong(group: string, ticks: readonly TickIdentity[]): Promise<TickIdentity[]> {
    return this.#run((client) => lateAmong(client, group, ticks));
  }

  /** What is committed now, for KnownTicks and Primed.seen. */
  storedNow(): Promise<string> {
    return this.#run(storedNow);
  }

  /** Of each tick, in their order, what is stored that can have its key. */
  storedKeys(name: SignalFrame['name'], ticks: readonly UnsureTick[]): Promise<StoredKeys[]> {
    return this.#run((client) => readStoredKeys(client, name, ticks));
  }

  /** What the stage saw live, by hours that touch the range. */
  seenHours(range: SeenRange, symbol: string, shape: string): Promise<SeenHour[]> {
    return this.#run((client) => seenHours(client, range, symbol, shape));
  }

  /** The database's clock, µs since 1970. */
  nowUs(): Promise<number> {
    return this.#run(async (client) => {
      const { rows } = await client.query<{ us: string }>(`SELECT ${microsOf('clock_timestamp()')} AS us`);
      return Number(rows[0].us);
    });
  }
}
