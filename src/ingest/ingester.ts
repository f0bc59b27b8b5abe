import type { LogLine } from '../core/env.ts';
import type { Client } from 'pg';
import type { ChainCheckMode } from '../core/copy/transcode.ts';
import type { TickRange } from '../core/ingest/ranges.ts';
import type { BackoffLimits } from '../core/retry.ts';
import type { Halt } from '../store/chain/halt.ts';
import { Auditor, type Audited } from './leader/auditor.ts';
import { Chores } from './leader/maintenance.ts';
import { Crew, type CrewHost, type CrewOptions } from './crew.ts';
import { GapBook } from './gaps/recorder.ts';
import { awaitLatestTick } from './sequencer/latest-tick.ts';
import { Leadership, type LeadershipState } from './leader/leadership.ts';
import type { CommittedBatch } from './pipeline/commit.ts';
import { Pipeline } from './pipeline/pipeline.ts';
import type { FromReader, ReaderStats } from './reader/reader-thread.ts';
import { planRing, Ring, type RingStatus } from './ring.ts';
import { Runs, type RunsOptions } from './leader/run-supervisor.ts';
import { Steward, type Trouble } from './leader/ledger-client.ts';
import type { StreamState } from './sequencer/tick-stream.ts';
import type { ThreadStats } from './thread-stats.ts';
import type { DatabaseTrouble } from './writer/batch-writer.ts';
import type { WriterStats } from './writer/writer-thread.ts';

export interface IngesterOptions extends RunsOptions, CrewOptions {
  /** who holds the lease, for operators */
  holder: string;
  ring: { bufferBytes: number; bufferTicks: number; tickBytesMax: number; batchTicksMax: number };
  /** CHAIN_CHECK */
  chainCheck: ChainCheckMode;
  backoff: BackoffLimits;
  drainMs: number;
}

export interface IngesterHost {
  connect(purpose: string, onLost: (error: Error) => void): Promise<Client>;
  checkSchema(client: Client): Promise<void>;
  nowMicros(): bigint;
  nowMs(): number;
  random(): number;
  readonly log: LogLine;
  committed(batch: CommittedBatch): void;
  threadStats(thread: string, stats: ThreadStats): void;
  readerStats(stats: ReaderStats): void;
  writerStats(index: number, stats: WriterStats): void;
  trouble(trouble: Trouble): void;
  audited(result: Audited): void;
  /** nothing can go on: the process should end with this */
  fatal(error: Error): void;
}

/** What the ingester is doing, for /ready, `status` and the metrics. */
export interface IngesterStatus {
  leadership: LeadershipState;
  stream: StreamState;
  /** why nothing is ingested until an operator decides */
  halt: Halt | null;
  /** by writer; empty when all of them are well */
  databaseTrouble: Map<number, DatabaseTrouble>;
  position: bigint | null;
  completeUpTo: bigint | null;
  head: bigint | null;
  highest: bigint | null;
  openGaps: readonly TickRange[];
  epoch: bigint | null;
  ring: RingStatus & { bytes: number };
}

const RENEW_MS = 1_000;
const ANSWER_MS = 3_000;

/** The stage `ingest`: reader thread, parser pool, writer threads, the lease and the runs that it allows, joined. */
export class Ingester {
  readonly #options: IngesterOptions;
  readonly #host: IngesterHost;
  readonly #ring: Ring;
  readonly #crew: Crew;
  readonly #pipeline: Pipeline;
  readonly #leadership: Leadership;
  readonly #steward: Steward;
  readonly #gaps: GapBook;
  readonly #runs: Runs;
  readonly #auditor: Auditor;
  readonly #chores: Chores;
  #leadershipState: LeadershipState = { kind: 'connecting' };
  #stream: StreamState = { kind: 'stopped' };
  #head: bigint | null = null;
  #highest: bigint | null = null;
  #drained: (() => void) | null = null;

  constructor(options: IngesterOptions, host: IngesterHost) {
    this.#options = options;
    this.#host = host;
    this.#ring = new Ring(planRing(options.ring));
    this.#crew = new Crew(this.#ring, options, this.#crewHost());
    this.#steward = new Steward(options.backoff, {
      connect: (onLost) => host.connect('steward', onLost),
      random: () => host.random(),
    });
    this.#leadership = new Leadership(
      options.chainId,
      options.holder,
      { backoff: options.backoff, renewMs: RENEW_MS, answerMs: ANSWER_MS },
      {
        connect: (onLost) => host.connect('lease', onLost),
        checkSchema: (client) => host.checkSchema(client),
        lead: (epoch) => void this.#lead(epoch),
        follow: () => this.#runs.follow(),
        serverChanged: () => void this.#runs.serverChanged(),
        state: (state) => this.#leads(state),
        random: () => host.random(),
      },
    );
    this.#pipeline = new Pipeline(this.#ring, this.#crew, this.#pipelineHost(), {
      tickBytesMax: options.ring.tickBytesMax,
      chainCheck: options.chainCheck,
    });
    this.#auditor = new Auditor(this.#auditorHost());
    this.#gaps = new GapBook(this.#steward, this.#pipeline, host);
    this.#chores = new Chores(this.#steward, this.#pipeline, this.#gaps, {
      isLeading: () => this.#leadershipState.kind === 'leading',
      trouble: (trouble) => host.trouble(trouble),
    });
    this.#runs = new Runs(
      options,
      {
        nowMs: () => host.nowMs(),
        toReader: (message) => this.#crew.toReader(message),
        began: (run, epoch, openGaps) => this.#gaps.began(run, epoch, openGaps),
        log: (level, message, fields) => host.log(level, message, fields),
        latestTick: () => this.#latestTick(),
        fatal: (error) => host.fatal(error),
      },
      this.#ring,
      this.#pipeline,
      this.#auditor,
      this.#steward,
    );
  }

  get status(): IngesterStatus {
    return {
      leadership: this.#leadershipState,
      stream: this.#stream,
      halt: this.#runs.halted,
      databaseTrouble: this.#crew.databaseTrouble,
      position: this.#pipeline.position,
      completeUpTo: this.#pipeline.completeUpTo,
      head: this.#head,
      highest: this.#highest,
      openGaps: this.#pipeline.openGaps,
      epoch: this.#pipeline.epoch,
      ring: { ...this.#ring.status, bytes: this.#pipeline.bytesUnderWay },
    };
  }

  /** How long the oldest parse has been under way, ms; 0 when none is. */
  get oldestParseMs(): number {
    return this.#crew.oldestParseMs;
  }

  /** Runs until stop(). */
  start(): void {
    this.#leadership.run().catch((error: unknown) => this.#host.fatal(error as Error));
    this.#chores.start();
  }

  /** Closes the stream, writes what was read, gives the lease back. False when drainMs were not enough. */
  async stop(): Promise<boolean> {
    this.#chores.stop();
    let late = false;
    let timer: NodeJS.Timeout | null = null;
    const deadline = new Promise<void>((resolve) => {
      timer = setTimeout(() => {
        late = true;
        resolve();
      }, this.#options.drainMs);
    });
    await Promise.race([this.#drain(), deadline]);
    if (timer !== null) clearTimeout(timer);
    if (late) return false;
    await Promise.all([this.#leadership.stop(), this.#steward.stop(), this.#crew.stopWriters()]);
    await this.#crew.stopReaderAndParsers();
    return true;
  }

  async #drain(): Promise<void> {
    await this.#runs.stop();
    await new Promise<void>((resolve) => {
      this.#drained = resolve;
      this.#crew.toReader({ type: 'drain' });
    });
    await this.#pipeline.settled();
  }

  async #lead(epoch: bigint): Promise<void> {
    try {
      await this.#runs.lead(epoch);
    } catch (error) {
      // stopping, or replaced already: the next renewal says so
      this.#host.log('warn', 'The run did not begin', { error: (error as Error).message });
    }
  }

  #latestTick(): Promise<bigint> {
    const { reader, backoff } = this.#options;
    const isWanted = (): boolean => this.#leadershipState.kind === 'leading';
    return awaitLatestTick(reader.source, backoff, this.#host, isWanted);
  }

  #leads(state: LeadershipState): void {
    const before = this.#leadershipState;
    this.#leadershipState = state;
    if (state.kind === before.kind) return;
    if (state.kind === 'standby')
      this.#host.log('info', 'Standing by: another daemon writes', { holder: state.holder });
    if (state.kind === 'schema') this.#host.log('error', state.error, {});
    if (state.kind === 'unreachable') {
      this.#host.log('warn', 'Failed to connect to database', { error: state.error.message });
    }
  }

  #fromReader(message: FromReader): void {
    switch (message.type) {
      case 'sealed':
        this.#pipeline.sealed(message.batch);
        return;
      case 'repeated':
        this.#auditor.accept(message.run, message.frames);
        return;
      case 'forked':
        this.#runs.halt({ kind: 'forked', reason: message.reason });
        return;
      case 'headReached':
        this.#runs.headReached(message.run);
        return;
      case 'filling':
        void this.#gaps.report(message.run, message.report);
        return;
      case 'state':
        this.#stream = message.state;
        return;
      case 'head':
        this.#head = message.head;
        return;
      case 'stopped':
        this.#runs.readerStopped(message.run);
        return;
      case 'drained':
        this.#drained?.();
        return;
      case 'log':
        this.#host.log(message.level, message.message, message.fields);
        return;
      case 'stats':
        this.#highest = message.stats.highest;
        this.#host.readerStats(message.stats);
    }
  }

  #crewHost(): CrewHost {
    return {
      nowMs: () => this.#host.nowMs(),
      log: (level, message, fields) => this.#host.log(level, message, fields),
      fromReader: (message) => this.#fromReader(message),
      readerDied: (error) => {
        this.#stream = { kind: 'down', error: error.message, code: 13 };
        this.#drained?.();
        void this.#runs.readerDied();
      },
      threadStats: (thread, stats) => this.#host.threadStats(thread, stats),
      writerStats: (index, stats) => this.#host.writerStats(index, stats),
    };
  }

  #auditorHost(): ConstructorParameters<typeof Auditor>[0] {
    return {
      isSettled: (number) => this.#pipeline.isSettled(number),
      readCounterparts: (numbers) => this.#steward.readCounterparts(numbers),
      recordConflicts: (epoch, letters) => this.#steward.recordConflicts(epoch, letters),
      admit: (deadLetters) => this.#runs.admit(deadLetters),
      credit: (run) => this.#crew.toReader({ type: 'audited', run }),
      audited: (result) => {
        if (result.conflicts.length > 0) this.#runs.deadLettersWritten();
        this.#host.audited(result);
      },
      forked: (reason) => this.#runs.halt({ kind: 'forked', reason }),
    };
  }

  #pipelineHost(): ConstructorParameters<typeof Pipeline>[2] {
    return {
      nowMicros: () => this.#host.nowMicros(),
      nowMs: () => this.#host.nowMs(),
      recordOrigin: (first, epoch) => this.#steward.recordOrigin(first, epoch),
      admit: (deadLetters) => this.#runs.admit(deadLetters),
      committed: (batch) => {
        if (batch.deadLetters > 0) this.#runs.deadLettersWritten();
        this.#host.committed(batch);
        this.#gaps.committed(batch);
        this.#auditor.advance();
      },
      refused: (batch) => this.#host.log('warn', 'The database refuses rows of a batch: cutting it', batch),
      fenced: (epoch) => this.#leadership.fenced(epoch),
      parserFailed: (error) =>
        this.#host.log('error', 'A parser failed; its batch is parsed again', { error: error.message }),
    };
  }
}
