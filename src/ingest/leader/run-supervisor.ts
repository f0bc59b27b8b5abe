import type { Env } from '../../core/env.ts';
import { DeadLetterBrake } from '../../core/ingest/brake.ts';
import { lostRanges } from '../../core/ingest/lost.ts';
import type { TickRange } from '../../core/ingest/ranges.ts';
import type { LedgerState } from '../../store/chain/ledger.ts';
import type { Halt } from '../../store/chain/halt.ts';
import type { Auditor } from './auditor.ts';
import type { Pipeline } from '../pipeline/pipeline.ts';
import type { ToReader } from '../reader/reader-thread.ts';
import type { Ring } from '../ring.ts';
import type { LedgerClient } from './ledger-client.ts';

export interface RunOptions {
  chainId: string;
  /** where a chain without a position starts; 0 is the latest tick */
  startTick: bigint;
  /** start at startTick although there is a position (--ignore-watermark); the first run only */
  ignorePosition: boolean;
  /** DEAD_LETTER_MAX */
  deadLetterMax: number;
}

export interface RunSupervisorHost {
  toReader(message: ToReader): void;
  /** a run starts, with these gaps open */
  began(run: number, epoch: bigint, openGaps: readonly TickRange[]): void;
  /** the run is over */
  ended(): void;
  /** the sequencer's latest tick; waits until it answers */
  latestTick(): Promise<bigint>;
  /** the ingester cannot continue: the process should exit with this error */
  fatal(error: Error): void;
}

/**
 * The runs of the ingester, one after the other: a run starts at the ledger's position and ends when the lease is lost,
 * the database went backwards or the reader died. Whatever starts or ends a run is a turn; turns never overlap.
 */
export class RunSupervisor {
  readonly #options: RunOptions;
  readonly #env: Env;
  readonly #host: RunSupervisorHost;
  readonly #ring: Ring;
  readonly #pipeline: Pipeline;
  readonly #ledger: LedgerClient;
  readonly #auditor: Auditor;
  readonly #brake: DeadLetterBrake;
  #halt: Halt | null = null;
  #turns: Promise<void> = Promise.resolve();
  #stopping = false;
  #run = 0;
  #ignorePosition: boolean;
  #readerStopped: ((run: number) => void) | null = null;

  constructor(
    options: RunOptions,
    env: Env,
    host: RunSupervisorHost,
    ring: Ring,
    pipeline: Pipeline,
    auditor: Auditor,
    ledger: LedgerClient,
  ) {
    this.#options = options;
    this.#env = env;
    this.#host = host;
    this.#ring = ring;
    this.#pipeline = pipeline;
    this.#auditor = auditor;
    this.#brake = new DeadLetterBrake(options.deadLetterMax);
    this.#ledger = ledger;
    this.#ignorePosition = options.ignorePosition;
  }

  /** This daemon has the lease: no other daemon can change the ledger any more. */
  lead(epoch: bigint): Promise<void> {
    return this.#turn(async () => this.#begin(epoch, await this.#ledger.readLedger()));
  }

  /** Why ingestion is halted until an operator decides; null otherwise. */
  get halted(): Halt | null {
    return this.#halt;
  }

  /** Whether this many more dead letters may be written; if so they are counted, otherwise the run ends. */
  admit(deadLetters: number): boolean {
    if (this.#halt !== null) return false;
    if (this.#brake.admit(deadLetters, this.#env.clock.monotonicMs())) return true;
    this.#haltPoisoned();
    return false;
  }

  deadLettersWritten(): void {
    if (this.#brake.isOver(this.#env.clock.monotonicMs())) this.#haltPoisoned();
  }

  #haltPoisoned(): void {
    const reason = `more than ${this.#brake.max} new dead letters in 10 minutes (DEAD_LETTER_MAX)`;
    this.halt({ kind: 'poison', reason });
  }

  /** The run ends, and no other starts before an operator has accepted the halt (tick-ingester resume). */
  halt(halt: Halt): void {
    if (this.#halt !== null) return;
    this.#halt = halt;
    this.#env.log('error', HALTED, { halt: halt.kind, reason: halt.reason });
    void this.#turn(() => this.#endHalted(halt)).catch(() => {
      // replaced by another daemon, which decides for itself
    });
  }

  /** From the reader: a head that an operator accepted is no longer below our position. */
  headReached(run: number): void {
    const { progress } = this.#pipeline;
    if (run !== this.#run || progress === null) return;
    this.#auditor.forkAccepted = false;
    this.#ledger.forgetForkAcceptance(progress.epoch).catch(() => {});
  }

  /** Another daemon has it. */
  follow(): Promise<void> {
    return this.#turn(async () => {
      this.#halt = null;
      await this.#end('the lease was taken over');
    });
  }

  /** The server restarted: with asynchronous commits or a failover it may have lost confirmed commits. */
  serverChanged(): Promise<void> {
    return this.#turn(() => this.#verify());
  }

  /** The reader thread exited on its own and was replaced. */
  readerDied(): Promise<void> {
    this.#readerStopped?.(this.#run);
    return this.#turn(() => this.#startOver());
  }

  /** The reader has returned its slab. */
  readerStopped(run: number): void {
    this.#readerStopped?.(run);
  }

  /** No further turn starts; resolves when the current one is over. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#turns;
  }

  #turn(work: () => Promise<void>): Promise<void> {
    const turn = this.#turns.then(() => (this.#stopping ? undefined : work()));
    this.#turns = turn.catch(() => {});
    return turn;
  }

  async #begin(epoch: bigint, ledger: LedgerState): Promise<void> {
    const { startTick, chainId } = this.#options;
    this.#halt = ledger.brake.halt;
    if (this.#halt !== null) {
      this.#env.log('error', HALTED, { halt: this.#halt.kind, reason: this.#halt.reason });
      return;
    }
    this.#brake.begin(ledger.brake.deadLetters, this.#env.clock.monotonicMs());
    const start = await this.#positionOf(epoch, ledger);
    const previousOutput = start === null ? null : await this.#ledger.readOutput(start);
    this.#pipeline.start(epoch, { ...ledger, position: start });
    this.#run += 1;
    // --ignore-watermark may have requested ticks that do not exist yet
    const forkAccepted = ledger.brake.forkAccepted || start !== ledger.position;
    this.#auditor.forkAccepted = forkAccepted;
    this.#auditor.start(epoch, this.#run);
    this.#host.began(this.#run, epoch, ledger.openGaps);
    this.#host.toReader({
      type: 'start',
      run: this.#run,
      start: {
        expected: start === null ? null : start + 1n,
        stored: ledger.storedAhead,
        openGaps: [...ledger.openGaps, ...ledger.unfillable],
        previousOutput,
      },
      ask: startTick,
      forkAccepted,
      fill: ledger.openGaps,
    });
    this.#env.log('info', 'Ingesting', {
      chain: chainId,
      epoch,
      position: start,
      open_gaps: ledger.openGaps.length,
    });
  }

  async #positionOf(epoch: bigint, { position }: LedgerState): Promise<bigint | null> {
    const { startTick } = this.#options;
    if (position === null) return null;
    if (this.#ignorePosition) {
      const start = await this.#skip(epoch, position);
      this.#ignorePosition = false;
      return start;
    }
    if (startTick > 0n) {
      this.#env.log('warn', 'START_TICK is ignored: a position exists', { start_tick: startTick, position });
    }
    return position;
  }

  /** --ignore-watermark: the ticks between the position and START_TICK are not wanted. Returns the new position. */
  async #skip(epoch: bigint, position: bigint): Promise<bigint> {
    const { startTick } = this.#options;
    if (startTick !== 0n && startTick <= position) {
      const error = new Error(
        `--ignore-watermark cannot go back: START_TICK=${startTick} is not beyond the position ${position}`,
      );
      this.#host.fatal(error);
      throw error;
    }
    const start = startTick === 0n ? await this.#host.latestTick() : startTick;
    if (start <= position + 1n) return position;
    const gap = { first: position + 1n, last: start - 1n };
    await this.#ledger.recordSkipped(gap, epoch);
    this.#env.log('warn', 'Skipped ticks as --ignore-watermark asks', {
      first_tick: gap.first,
      last_tick: gap.last,
    });
    return gap.last;
  }

  async #endHalted(halt: Halt): Promise<void> {
    const { progress } = this.#pipeline;
    if (progress === null) return;
    await this.#end('an operator must decide');
    await this.#ledger.recordHalt(progress.epoch, halt);
  }

  async #end(why: string): Promise<void> {
    this.#env.log('warn', `Stopped ingesting: ${why}`, {});
    this.#auditor.stop();
    this.#host.ended();
    const run = this.#run;
    await new Promise<void>((resolve) => {
      this.#readerStopped = (stopped) => {
        if (stopped === run) resolve();
      };
      this.#host.toReader({ type: 'stop', run });
    });
    this.#readerStopped = null;
    await this.#pipeline.stop();
  }

  async #verify(): Promise<void> {
    const { progress } = this.#pipeline;
    if (progress === null) return;
    // taken before the ledger is read: batches keep being committed meanwhile
    const { epoch, position } = progress;
    const ours = { recorded: progress.list(), openGaps: [...progress.openGaps] };
    if (ours.recorded.length === 0) return;
    const ledger = await this.#ledger.readLedger();
    const lost = lostRanges(ours, ledger);
    if (lost.length === 0) return;
    this.#env.log('error', 'The database went backwards; reading again from its position', {
      had: position,
      has: ledger.position,
      lost_ranges: lost.length,
      first_lost: lost[0]?.first,
    });
    await this.#end('the database went backwards');
    await this.#begin(epoch, await this.#ledger.readLedger());
  }

  /**
   * A dead reader took its open slab with it: the new one is stopped (a turn may have started it), batches at a writer
   * are finished, and the ring is reset.
   */
  async #startOver(): Promise<void> {
    const { progress } = this.#pipeline;
    await this.#end('the reader thread died');
    this.#ring.clear();
    if (progress !== null) await this.#begin(progress.epoch, await this.#ledger.readLedger());
  }
}

const HALTED = 'Ingestion is halted; when the cause is understood: tick-ingester resume --accept <halt>';
