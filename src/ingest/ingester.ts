import type { Env } from '../core/env.ts';
import { ServerClock } from '../core/server-clock.ts';
import { atMost } from '../core/wait.ts';
import type { Client } from 'pg';
import type { ChainCheckMode } from '../core/copy/transcode.ts';
import type { BackoffLimits } from '../core/retry.ts';
import { Auditor, type AuditorHost } from './leader/auditor.ts';
import { Maintenance } from './leader/maintenance.ts';
import { GapRecorder } from './gaps/recorder.ts';
import type { IngestObserver } from './observer.ts';
import { awaitLatestTick, SequencerConnection } from './sequencer/connection.ts';
import { Leadership, type LeadershipState } from './leader/leadership.ts';
import type { PipelineHost } from './pipeline/host.ts';
import { Pipeline } from './pipeline/pipeline.ts';
import { planRing, Ring } from './ring.ts';
import { REFETCH, Refetcher } from './leader/refetcher.ts';
import { RunSupervisor, type RunOptions } from './leader/run-supervisor.ts';
import { LedgerClient } from './leader/ledger-client.ts';
import { compareWithStored, type StoredComparisonHost } from './leader/stored-comparison.ts';
import type { IngesterStatus } from './status.ts';
import type { StreamState } from './sequencer/stream-host.ts';
import { IngestThreads, type ReaderMessage, type ThreadsOptions } from './threads.ts';

export interface IngesterOptions extends RunOptions, ThreadsOptions {
  env: Env;
  observer: IngestObserver;
  /** identifies the lease holder to operators */
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
  /** the ingester cannot continue: the process should exit with this error */
  fatal(error: Error): void;
}

const RENEW_MS = 1_000;
const ANSWER_MS = 3_000;

/** The stage `ingest`: joins reader thread, parser pool, writer threads, the lease and the runs it permits. */
export class Ingester {
  readonly #options: IngesterOptions;
  readonly #host: IngesterHost;
  readonly #ring: Ring;
  readonly #threads: IngestThreads;
  readonly #pipeline: Pipeline;
  readonly #leadership: Leadership;
  readonly #ledger: LedgerClient;
  readonly #gaps: GapRecorder;
  readonly #runs: RunSupervisor;
  readonly #auditor: Auditor;
  readonly #refetcher: Refetcher;
  readonly #maintenance: Maintenance;
  readonly #databaseClock: ServerClock;
  #leadershipState: LeadershipState = { kind: 'connecting' };
  #stream: StreamState = { kind: 'stopped' };
  #head: bigint | null = null;
  #highest: bigint | null = null;
  #drained: (() => void) | null = null;

  constructor(options: IngesterOptions, host: IngesterHost) {
    this.#options = options;
    this.#host = host;
    this.#ring = new Ring(planRing(options.ring));
    const { env, observer } = options;
    this.#databaseClock = new ServerClock(env.clock);
    this.#threads = new IngestThreads(this.#ring, options, env, observer, {
      fromReader: (message) => this.#fromReader(message),
      readerDied: (error) => this.#readerDied(error),
      writerLost: (writer) => this.#pipeline.writers.idleLost(writer),
    });
    this.#ledger = new LedgerClient(options.backoff, env, () =>
      this.#pipeline.writers.before(() => host.connect('ledger', () => {})),
    );
    this.#leadership = new Leadership(
      options.chainId,
      options.holder,
      { backoff: options.backoff, renewMs: RENEW_MS, answerMs: ANSWER_MS },
      env,
      {
        connect: (onLost) => this.#pipeline.writers.before(() => host.connect('lease', onLost)),
        checkSchema: (client) => host.checkSchema(client),
        lead: (epoch) => void this.#lead(epoch),
        follow: () => this.#runs.follow(),
        serverChanged: () => void this.#runs.serverChanged(),
        serverTime: (micros, askedMs) => this.#databaseClock.tell(micros, askedMs, env.log),
        state: (state) => this.#leads(state),
      },
    );
    const limits = {
      tickBytesMax: options.ring.tickBytesMax,
      chainCheck: options.chainCheck,
      answerMs: Math.min(...options.writers.map((writer) => writer.limits.answerMs)),
      nowMicros: () => this.#databaseClock.nowMicros(),
    };
    this.#pipeline = new Pipeline(this.#ring, this.#threads, limits, env, observer, this.#pipelineHost());
    this.#auditor = new Auditor(observer, this.#auditorHost());
    this.#refetcher = new Refetcher({ ...REFETCH, backoff: options.backoff }, env, {
      connect: () => new SequencerConnection(options.reader.source, env.clock),
      readDeadNumbers: (limit) => this.#ledger.readDeadNumbers(limit),
      fetched: (frames) => this.#auditor.fetched(frames),
    });
    this.#gaps = new GapRecorder(this.#ledger, (range) => this.#pipeline.progress?.gaveUp(range), env);
    this.#maintenance = new Maintenance(
      this.#ledger,
      this.#pipeline,
      this.#gaps,
      observer,
      () => this.#isLeading,
    );
    this.#runs = new RunSupervisor(
      options,
      env,
      {
        toReader: (message) => this.#threads.toReader(message),
        began: (run, epoch, openGaps) => {
          this.#gaps.began(run, epoch, openGaps);
          this.#refetcher.start();
        },
        ended: () => this.#refetcher.stop(),
        latestTick: () => this.#latestTick(),
        fatal: (error) => host.fatal(error),
      },
      this.#ring,
      this.#pipeline,
      this.#auditor,
      this.#ledger,
    );
  }

  get status(): IngesterStatus {
    const { progress } = this.#pipeline;
    return {
      leadership: this.#leadershipState,
      stream: this.#stream,
      halt: this.#runs.halted,
      databaseTrouble: this.#threads.databaseTrouble,
      clockAheadMs: this.#databaseClock.aheadMs,
      writersConnected: this.#pipeline.writers.connected,
      position: progress?.position ?? null,
      completeUpTo: progress?.completeUpTo ?? null,
      head: this.#head,
      highest: this.#highest,
      openGaps: progress?.openGaps ?? [],
      epoch: progress?.epoch ?? null,
      ring: { ...this.#ring.status, bytes: this.#pipeline.bytesUnderWay },
    };
  }

  /** How long the oldest parse has been in flight, ms; 0 when none is. */
  get oldestParseMs(): number {
    return this.#threads.oldestParseMs;
  }

  /** Runs until stop(). */
  start(): void {
    this.#leadership.run().catch((error: unknown) => this.#host.fatal(error as Error));
    this.#maintenance.start();
  }

  /** Closes the stream, writes what was read, releases the lease. False when drainMs was not enough. */
  async stop(): Promise<boolean> {
    this.#maintenance.stop();
    if (!(await atMost(this.#drain(), this.#options.drainMs))) return false;
    await Promise.all([this.#leadership.stop(), this.#ledger.stop(), this.#threads.stopWriters()]);
    await this.#threads.stopReaderAndParsers();
    return true;
  }

  async #drain(): Promise<void> {
    await this.#runs.stop();
    this.#refetcher.stop();
    await new Promise<void>((resolve) => {
      this.#drained = resolve;
      this.#threads.toReader({ type: 'drain' });
    });
    await this.#pipeline.settled();
    await this.#auditor.finish();
  }

  async #lead(epoch: bigint): Promise<void> {
    try {
      await this.#runs.lead(epoch);
    } catch (error) {
      // stopping, or already replaced: the next renewal reports it
      this.#options.env.log('warn', 'The run did not begin', { error: (error as Error).message });
    }
  }

  #latestTick(): Promise<bigint> {
    const { reader, backoff, env } = this.#options;
    return awaitLatestTick(reader.source, backoff, env, () => this.#isLeading);
  }

  get #isLeading(): boolean {
    return this.#leadershipState.kind === 'leading';
  }

  #leads(state: LeadershipState): void {
    const before = this.#leadershipState;
    this.#leadershipState = state;
    if (state.kind === before.kind) return;
    if (state.kind === 'standby')
      this.#options.env.log('info', 'Standing by: another daemon writes', { holder: state.holder });
    if (state.kind === 'schema')
      this.#options.env.log('error', `${state.error}; the daemon goes on by itself then`, {});
    if (state.kind === 'unreachable') {
      this.#options.env.log('warn', 'Failed to connect to database', { error: state.error.message });
    }
  }

  #readerDied(error: Error): void {
    this.#stream = { kind: 'down', error: error.message, code: 13 };
    this.#drained?.();
    void this.#runs.readerDied();
  }

  #fromReader(message: ReaderMessage): void {
    switch (message.type) {
      case 'sealed':
        this.#pipeline.sealed(message.batch);
        return;
      case 'repeated':
        this.#auditor.accept(message.run, message.frames);
        return;
      case 'compare':
        void this.#compare(message);
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
      case 'stats':
        this.#highest = message.stats.highest;
    }
  }

  async #compare({ run, id, frame }: ReaderMessage & { type: 'compare' }): Promise<void> {
    try {
      const comparison = await compareWithStored(frame, this.#auditorHost());
      this.#threads.toReader({ type: 'compared', run, id, comparison });
    } catch {
      // stopping
    }
  }

  #auditorHost(): AuditorHost & StoredComparisonHost {
    return {
      isSettled: (number) => this.#pipeline.progress?.isSettled(number) ?? false,
      readCounterparts: (numbers) => this.#ledger.readCounterparts(numbers),
      readHighestBelow: (number) => this.#ledger.readHighestBelow(number),
      replaceDeadLetter: (epoch, raw, rows) => this.#ledger.replaceDeadLetter(epoch, raw, rows),
      recordDeadLetters: (epoch, deadLetters) => this.#ledger.recordDeadLetters(epoch, deadLetters),
      limits: () => ({
        nowMicros: this.#databaseClock.nowMicros(),
        tickMaxBytes: this.#options.ring.tickBytesMax,
        check: this.#options.chainCheck,
      }),
      admit: (deadLetters) => this.#runs.admit(deadLetters),
      credit: (run) => this.#threads.toReader({ type: 'audited', run }),
      deadLettersWritten: () => this.#runs.deadLettersWritten(),
      forked: (reason) => this.#runs.halt({ kind: 'forked', reason }),
    };
  }

  #pipelineHost(): PipelineHost {
    return {
      recordOrigin: (first, epoch) => this.#ledger.recordOrigin(first, epoch),
      admit: (deadLetters) => this.#runs.admit(deadLetters),
      committed: (batch) => {
        if (batch.deadLetters > 0) this.#runs.deadLettersWritten();
        this.#gaps.committed(batch);
        this.#refetcher.add(batch.deadNumbers);
        this.#auditor.advance();
      },
      fenced: (epoch) => this.#leadership.fenced(epoch),
    };
  }
}
