import type { ChainAlarm, TranscodeLimits } from '../../core/copy/transcode.ts';
import type { TickRows } from '../../core/copy/frame.ts';
import { CONFLICTS_MAX, ConflictStreak } from '../../core/ingest/brake.ts';
import type { Counterpart, RepeatedDeadLetter } from '../../store/chain/counterparts.ts';
import type { Replacement } from '../../store/chain/replace-dead-letter.ts';
import type { RepeatedFrame } from '../reader/repeated-frames.ts';
import { Signal } from '../../core/wait.ts';
import { conflict, deadLetter, isAmong, judge, type NumberedFrame } from './judge.ts';

export interface AuditorHost {
  /** whether everything received of this number is committed, or the number lies below the origin */
  isSettled(number: bigint): boolean;
  /** waits for the database without a limit; rejects when the daemon stops */
  readCounterparts(numbers: bigint[]): Promise<Map<bigint, Counterpart>>;
  /** the same; also rejects when another daemon has the epoch */
  replaceDeadLetter(epoch: bigint, raw: Uint8Array, rows: TickRows): Promise<Replacement>;
  /** the same */
  recordDeadLetters(epoch: bigint, deadLetters: RepeatedDeadLetter[]): Promise<void>;
  /** the rules for a good tick, now */
  limits(): TranscodeLimits;
  /** whether this many more dead letters may be written; otherwise the brake halts the run */
  admit(deadLetters: number): boolean;
  /** The reader may send another packet. */
  credit(run: number): void;
  /** frames that came again were written as dead letters */
  deadLettersWritten(): void;
  /** CONFLICTS_MAX frames in a row differ from what is stored */
  forked(reason: string): void;
}

/** Called for each packet; part of IngestObserver. */
export interface AuditObserver {
  audited(result: Audited): void;
}

/** Outcomes of frames that were compared together. */
export interface Audited {
  /** equal to what is stored or kept, repeated by the stream */
  repeated: number;
  /** equal, and requested again by our own resume */
  resumed: number;
  /** nothing is stored for them: below the origin, skipped by an operator, or dropped by retention */
  unwanted: number;
  /** good ticks, stored in the place of their dead letters */
  replaced: ReplacedTick[];
  /** bad frames, kept as dead letters of their own */
  bad: RepeatedDeadLetter[];
  /** good frames that differ from the stored tick */
  conflicts: RepeatedDeadLetter[];
}

export interface ReplacedTick {
  tickNumber: bigint;
  transactions: number;
  /** how many were resolved by it */
  deadLetters: number;
  alarms: readonly ChainAlarm[];
  brokenLinks: number;
}

/** What became of one frame. */
type Outcome =
  /** equal to the stored tick, or to a dead letter; or of no interest */
  | { kind: 'equal' | 'kept' | 'unwanted' }
  | { kind: 'replaced'; tick: ReplacedTick }
  | { kind: 'bad' | 'conflict'; deadLetter: RepeatedDeadLetter };

interface Packet {
  run: number;
  frames: RepeatedFrame[];
}

/**
 * Compares every frame whose number was received before with what is stored, field by field (spec P5): equal ones are
 * counted, other content is kept as a dead letter beside the stored row. Where only dead letters stand for the number, a
 * good frame takes their place (P1). A frame waits until the first one of its number is committed. Bounded by the reader,
 * which sends no further packet before credit(). Frames in flight when a run ends are dropped: the next run asks GetTick
 * for the numbers of dead letters (refetcher.ts), and of the others only the comparison is lost.
 */
export class Auditor {
  readonly #observer: AuditObserver;
  readonly #host: AuditorHost;
  readonly #streak = new ConflictStreak();
  #epoch: bigint | null = null;
  #run = 0;
  #packets: Packet[] = [];
  #isBusy = false;
  readonly #idle = new Signal();
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
    this.#idle.fire();
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
        this.#idle.fire();
      });
  }

  /** Nothing more will be received or committed: resolves when all that can be compared has been. */
  async finish(): Promise<void> {
    for (const packet of this.#packets) {
      packet.frames = packet.frames.filter(({ number }) => this.#host.isSettled(number));
    }
    this.advance();
    while (this.#epoch !== null && this.#isBusy) await this.#idle.wait();
  }

  /**
   * Frames that GetTick answered with: they are compared and stored in the same way. Returns the numbers for which there
   * is still nothing but dead letters; null when no run audits them.
   */
  async fetched(frames: readonly NumberedFrame[]): Promise<bigint[] | null> {
    const epoch = this.#epoch;
    if (epoch === null) return null;
    const outcomes = await this.#outcomes(epoch, frames);
    if (this.#epoch !== epoch) return null;
    const result = nothingAudited();
    for (const outcome of outcomes) note(outcome, result);
    if (!(await this.#record(epoch, result))) return null;
    return frames
      .filter((_frame, at) => outcomes[at].kind === 'bad' || outcomes[at].kind === 'kept')
      .map(({ number }) => number);
  }

  async #audit(epoch: bigint, { run, frames }: Packet): Promise<void> {
    const outcomes = await this.#outcomes(epoch, frames);
    if (this.#epoch !== epoch || this.#run !== run) return;
    const result = nothingAudited();
    let streak = 0;
    frames.forEach(({ isOwn, ordinal }, at) => {
      const outcome = outcomes[at];
      note(outcome, result);
      if (outcome.kind === 'unwanted') result.unwanted += 1;
      if (outcome.kind === 'equal' || outcome.kind === 'kept') result[isOwn ? 'resumed' : 'repeated'] += 1;
      if (outcome.kind === 'conflict') streak = Math.max(streak, this.#streak.conflict(ordinal));
    });
    if (!(await this.#record(epoch, result))) return;
    if (streak >= CONFLICTS_MAX && !this.forkAccepted) {
      const numbers = result.conflicts.slice(-CONFLICTS_MAX).map(({ tickNumber }) => tickNumber);
      this.#host.forked(
        `${streak} ticks in a row differ from what is stored, the last ones ${numbers.join(', ')}: the sequencer has another chain`,
      );
    }
  }

  /** One for each frame, in order. What takes the place of dead letters is stored; no dead letter is written yet. */
  async #outcomes(epoch: bigint, frames: readonly NumberedFrame[]): Promise<Outcome[]> {
    const counterparts = await this.#host.readCounterparts([...new Set(frames.map(({ number }) => number))]);
    const outcomes: Outcome[] = [];
    for (const frame of frames) {
      const counterpart = counterparts.get(frame.number);
      const verdict = judge(frame, counterpart, this.#host.limits());
      if (verdict.kind !== 'good') outcomes.push(verdict);
      else outcomes.push(await this.#replace(epoch, frame, verdict.rows, counterpart));
    }
    return outcomes;
  }

  async #replace(
    epoch: bigint,
    frame: NumberedFrame,
    rows: TickRows,
    counterpart: Counterpart | undefined,
  ): Promise<Outcome> {
    const outcome = await this.#host.replaceDeadLetter(epoch, frame.bytes, rows);
    switch (outcome.kind) {
      case 'stored': {
        const { transactions, alarms } = rows;
        const { deadLetters, brokenLinks } = outcome;
        const tick = { tickNumber: frame.number, transactions, deadLetters, alarms, brokenLinks };
        return { kind: 'replaced', tick };
      }
      case 'conflict':
        return { kind: 'conflict', deadLetter: conflict(frame, outcome.comparison) };
      case 'refused':
        if (counterpart !== undefined && isAmong(frame.bytes, counterpart)) return { kind: 'kept' };
        return {
          kind: 'bad',
          deadLetter: deadLetter(frame, 'refused_by_database', outcome.detail, outcome.sqlstate),
        };
      case 'equal':
      case 'unwanted':
        return outcome;
    }
  }

  /** False when the brake is on. */
  async #record(epoch: bigint, result: Audited): Promise<boolean> {
    const deadLetters = [...result.bad, ...result.conflicts];
    if (deadLetters.length > 0) {
      if (!this.#host.admit(deadLetters.length)) {
        if (result.replaced.length > 0)
          this.#observer.audited({ ...nothingAudited(), replaced: result.replaced });
        return false;
      }
      await this.#host.recordDeadLetters(epoch, deadLetters);
      this.#host.deadLettersWritten();
    }
    this.#observer.audited(result);
    return true;
  }
}

function nothingAudited(): Audited {
  return { repeated: 0, resumed: 0, unwanted: 0, replaced: [], bad: [], conflicts: [] };
}

function note(outcome: Outcome, result: Audited): void {
  if (outcome.kind === 'replaced') result.replaced.push(outcome.tick);
  if (outcome.kind === 'bad') result.bad.push(outcome.deadLetter);
  if (outcome.kind === 'conflict') result.conflicts.push(outcome.deadLetter);
}
