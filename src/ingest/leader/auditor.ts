import { createHash } from 'node:crypto';
import { decodeTick } from '../../core/chain/decode.ts';
import { WireError } from '../../core/chain/wire-error.ts';
import { compareTicks, fieldsText, tickDigest } from '../../core/chain/digest.ts';
import type { Tick } from '../../core/chain/tick.ts';
import { CONFLICTS_MAX, ConflictStreak } from '../../core/ingest/brake.ts';
import type { ConflictDeadLetter, Counterpart } from '../../store/chain/conflicts.ts';
import type { RepeatedFrame } from '../reader/repeated-frames.ts';

export interface AuditorHost {
  /** whether everything received of this number is committed, or the number lies below the origin */
  isSettled(number: bigint): boolean;
  /** waits for the database without a limit; rejects when the daemon stops */
  readCounterparts(numbers: bigint[]): Promise<Map<bigint, Counterpart>>;
  /** the same; also rejects when another daemon has the epoch */
  recordConflicts(epoch: bigint, deadLetters: ConflictDeadLetter[]): Promise<void>;
  /** whether this many more dead letters may be written; otherwise the brake halts the run */
  admit(deadLetters: number): boolean;
  /** The reader may send another packet. */
  credit(run: number): void;
  /** conflicts were written as dead letters */
  deadLettersWritten(): void;
  /** CONFLICTS_MAX frames in a row differ from what is stored */
  forked(reason: string): void;
}

/** Called for each packet; part of IngestObserver. */
export interface AuditObserver {
  audited(result: Audited): void;
}

/** Outcomes of a packet's frames. */
export interface Audited {
  /** equal to what is stored, repeated by the stream */
  repeated: number;
  /** equal, and requested again by our own resume */
  resumed: number;
  /** nothing is stored for them: below the origin, skipped by an operator, or dropped by retention */
  unwanted: number;
  conflicts: { tickNumber: bigint; detail: string }[];
}

interface Packet {
  run: number;
  frames: RepeatedFrame[];
}

/**
 * Compares every repeated tick with what is stored, field by field (spec P5): equal ones are counted, others kept as
 * dead letters beside the stored row. A frame waits until the first one of its number is committed. Bounded by the
 * reader, which sends no further packet before credit(). Frames in flight when a run ends are dropped: no data is lost,
 * only the comparison.
 */
export class Auditor {
  readonly #observer: AuditObserver;
  readonly #host: AuditorHost;
  readonly #streak = new ConflictStreak();
  #epoch: bigint | null = null;
  #run = 0;
  #packets: Packet[] = [];
  #isBusy = false;
  /** an operator chose to continue although the sequencer has another chain */
  forkAccepted = false;

  constructor(observer: AuditObserver, host: AuditorHost) {
    this.#observer = observer;
    this.#host = host;
  }

  start(epoch: bigint, run: number): void {
    this.#epoch = epoch;
    this.#run = run;
    this.#packets = [];
    this.#streak.clear();
  }

  stop(): void {
    this.#epoch = null;
    this.#packets = [];
  }

  accept(run: number, frames: RepeatedFrame[]): void {
    if (this.#epoch === null || run !== this.#run) return;
    this.#packets.push({ run, frames });
    this.advance();
  }

  /** Something was committed: a packet may be ready. */
  advance(): void {
    const packet = this.#packets[0];
    if (this.#isBusy || this.#epoch === null || packet === undefined) return;
    if (!packet.frames.every(({ number }) => this.#host.isSettled(number))) return;
    this.#packets.shift();
    this.#isBusy = true;
    this.#audit(this.#epoch, packet)
      .catch(() => {
        // stopping, or replaced by another daemon
      })
      .finally(() => {
        this.#isBusy = false;
        this.#host.credit(packet.run);
        this.advance();
      });
  }

  async #audit(epoch: bigint, { run, frames }: Packet): Promise<void> {
    const counterparts = await this.#host.readCounterparts([...new Set(frames.map(({ number }) => number))]);
    if (this.#epoch !== epoch || this.#run !== run) return;
    const result: Audited = { repeated: 0, resumed: 0, unwanted: 0, conflicts: [] };
    const deadLetters: ConflictDeadLetter[] = [];
    let streak = 0;
    for (const frame of frames) {
      const counterpart = counterparts.get(frame.number);
      const conflict = counterpart === undefined ? null : conflictOf(frame, counterpart);
      if (counterpart === undefined) result.unwanted += 1;
      else if (conflict === null) result[frame.isOwn ? 'resumed' : 'repeated'] += 1;
      else {
        deadLetters.push(conflict);
        result.conflicts.push({ tickNumber: conflict.tickNumber, detail: conflict.detail });
        streak = Math.max(streak, this.#streak.conflict(frame.ordinal));
      }
    }
    if (deadLetters.length > 0) {
      if (!this.#host.admit(deadLetters.length)) return;
      await this.#host.recordConflicts(epoch, deadLetters);
    }
    if (deadLetters.length > 0) this.#host.deadLettersWritten();
    this.#observer.audited(result);
    if (streak >= CONFLICTS_MAX && !this.forkAccepted) {
      const numbers = result.conflicts.slice(-CONFLICTS_MAX).map(({ tickNumber }) => tickNumber);
      this.#host.forked(
        `${streak} ticks in a row differ from what is stored, the last ones ${numbers.join(', ')}: the sequencer has another chain`,
      );
    }
  }
}

const FIELDS_NAMED_MAX = 8;

/** Null when the frame equals what is stored, or what was kept as a dead letter. */
function conflictOf(
  { number, bytes }: RepeatedFrame,
  { tick, deadLetters }: Counterpart,
): ConflictDeadLetter | null {
  const raw = createHash('sha256').update(bytes).digest();
  if (tick === null) {
    const kept = deadLetters[0];
    if (kept === undefined || deadLetters.some((deadLetter) => deadLetter.equals(raw))) return null;
    const detail = `received ${raw.toString('hex')}, but the dead letter of this tick is ${kept.toString('hex')}`;
    return { tickNumber: number, detail, raw: bytes, storedDigest: kept };
  }
  if (deadLetters.some((deadLetter) => deadLetter.equals(raw))) return null;
  const conflict = (received: Buffer, stored: Buffer, differs: string): ConflictDeadLetter => {
    const detail = `received ${received.toString('hex')}, stored ${stored.toString('hex')}; ${differs}`;
    return { tickNumber: number, detail, raw: bytes, storedDigest: stored };
  };
  let frame: Tick;
  try {
    frame = decodeTick(bytes);
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    return conflict(raw, tickDigest(tick), `does not decode: ${error.message}`);
  }
  const { isEqual, received, stored, fields } = compareTicks(frame, tick);
  return isEqual ? null : conflict(received, stored, `differs in ${fieldsText(fields, FIELDS_NAMED_MAX)}`);
}
