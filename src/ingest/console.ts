import type { LogLine } from '../core/env.ts';
import { decodeTick } from '../core/chain/decode.ts';
import { formatTick } from '../core/chain/tick-json.ts';
import type { Tick } from '../core/chain/tick.ts';
import { INDEX_WORDS } from '../core/copy/transcode.ts';
import { formatMicros } from '../core/time.ts';
import type { SealedBatch } from './reader/batch-builder.ts';
import type { FromReader, ReaderSetup, ReaderStats } from './reader/reader-thread.ts';
import { planRing, Ring } from './ring.ts';
import type { StreamState } from './sequencer/tick-stream.ts';
import type { ThreadStats } from './thread-stats.ts';
import { ReaderThread } from './threads.ts';

export type ConsoleFormat = 'json' | 'compact' | 'table';

export interface ConsoleOptions {
  format: ConsoleFormat;
  startTick: bigint;
  ring: Parameters<typeof planRing>[0];
  reader: Omit<ReaderSetup, 'geometry' | 'memory'>;
}

export interface ConsoleHost {
  /** Resolves when the output takes more: a slow terminal stops the stream. */
  print(text: string): Promise<void>;
  printed(ticks: number): void;
  refused(reason: string, number: bigint): void;
  readonly log: LogLine;
  threadStats(thread: string, stats: ThreadStats): void;
  readerStats(stats: ReaderStats): void;
}

/** the reader runs once here */
const RUN = 1;

/** OUTPUT_MODE=console: the same reader and ring, with stdout in the place of parsers, writers and database. */
export class ConsoleIngester {
  readonly #options: ConsoleOptions;
  readonly #host: ConsoleHost;
  readonly #ring: Ring;
  readonly #reader: ReaderThread;
  #printing: Promise<void> = Promise.resolve();
  #stream: StreamState = { kind: 'stopped' };
  #head: bigint | null = null;
  #drained: (() => void) | null = null;

  constructor(options: ConsoleOptions, host: ConsoleHost) {
    this.#options = options;
    this.#host = host;
    this.#ring = new Ring(planRing(options.ring));
    this.#reader = new ReaderThread(
      { ...options.reader, geometry: this.#ring.geometry, memory: this.#ring.memory },
      {
        fromReader: (message) => this.#fromReader(message),
        fromWriter: () => {},
        stats: (thread, stats) => host.threadStats(thread, stats),
        died: (thread, error) => {
          host.log('error', 'A worker thread died and is replaced', { thread, error: error.message });
          this.#ring.clear();
          this.start();
        },
      },
    );
  }

  get stream(): StreamState {
    return this.#stream;
  }

  get head(): bigint | null {
    return this.#head;
  }

  get heldTicks(): number {
    return this.#ring.heldTicks;
  }

  start(): void {
    if (this.#options.format === 'table') this.#printing = this.#host.print(tableHeader());
    const start = { expected: null, stored: [], openGaps: [] };
    this.#reader.post({
      type: 'start',
      run: RUN,
      start,
      ask: this.#options.startTick,
      fill: null,
      forkAccepted: false,
    });
  }

  /** Prints what was read, then ends the reader. */
  async stop(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#drained = resolve;
      this.#reader.post({ type: 'drain' });
    });
    await this.#printing;
    await this.#reader.stop();
  }

  #fromReader(message: FromReader): void {
    if (message.type === 'sealed') this.#printing = this.#printing.then(() => this.#print(message.batch));
    // nothing is stored that they could be compared with
    if (message.type === 'repeated') this.#reader.post({ type: 'audited', run: RUN });
    if (message.type === 'forked')
      this.#host.log('error', 'The sequencer has another chain', { reason: message.reason });
    if (message.type === 'state') this.#stream = message.state;
    if (message.type === 'head') this.#head = message.head;
    if (message.type === 'drained') this.#drained?.();
    if (message.type === 'log') this.#host.log(message.level, message.message, message.fields);
    if (message.type === 'stats') this.#host.readerStats(message.stats);
  }

  async #print(batch: SealedBatch): Promise<void> {
    const lines: string[] = [];
    for (const frame of this.#frames(batch)) {
      try {
        lines.push(format(decodeTick(frame), frame.length, this.#options.format));
      } catch (error) {
        this.#host.refused((error as Error).message, batch.first);
      }
    }
    if (lines.length > 0) await this.#host.print(lines.join(''));
    this.#host.printed(lines.length);
    if (batch.slab !== null) this.#ring.free(batch.slab);
    this.#ring.addHeldTicks(-batch.ticks);
    this.#ring.addInFlight(-1);
    this.#reader.post({ type: 'credit' });
  }

  *#frames(batch: SealedBatch): Generator<Uint8Array> {
    if (batch.slab === null) {
      yield batch.side!;
      return;
    }
    const { index, bytes } = this.#ring.slab(batch.slab);
    for (let word = 0; word < batch.frames * INDEX_WORDS; word += INDEX_WORDS) {
      // a copy, out of shared memory: text decoders refuse to read from it
      yield bytes.slice(index[word], index[word] + index[word + 1]);
    }
  }
}

const COLUMNS: readonly [title: string, width: number, right: boolean][] = [
  ['TICK', 20, true],
  ['TIMESTAMP', 27, false],
  ['TXS', 5, true],
  ['BYTES', 8, true],
  ['ITERATIONS', 11, true],
  ['BATCH HASH', 16, false],
  ['OUTPUT', 16, false],
];

function tableHeader(): string {
  return row(COLUMNS.map(([title]) => title));
}

function format(tick: Tick, bytes: number, as: ConsoleFormat): string {
  if (as !== 'table') return `${formatTick(tick, as)}\n`;
  return row([
    String(tick.tickNumber),
    formatMicros(tick.timestamp),
    String(tick.transactions.length),
    String(bytes),
    String(tick.vdfProof.iterations),
    printable(tick.transactionBatchHash),
    printable(tick.vdfProof.output),
  ]);
}

function row(cells: string[]): string {
  return `${cells
    .map((cell, at) => {
      const [, width, right] = COLUMNS[at];
      const cut = cell.length > width && !right ? cell.slice(0, width) : cell;
      return right ? cut.padStart(width) : cut.padEnd(width);
    })
    .join('  ')
    .trimEnd()}\n`;
}

/** The sequencer's strings reach a terminal: no control characters. */
function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?');
}
