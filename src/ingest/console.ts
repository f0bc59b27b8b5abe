import type { Env } from '../core/env.ts';
import { decodeTick } from '../core/chain/decode.ts';
import { formatTick } from '../core/chain/tick-json.ts';
import type { Tick } from '../core/chain/tick.ts';
import { INDEX_WORDS } from '../core/copy/transcode.ts';
import { formatMicros } from '../core/time.ts';
import type { SealedBatch } from './reader/batch-builder.ts';
import type { ReaderObserver } from './observer.ts';
import type { ReaderSetup } from './reader/reader-thread.ts';
import { planRing, Ring } from './ring.ts';
import type { StreamState } from './sequencer/stream-host.ts';
import { ReaderThread, type ReaderMessage } from './threads.ts';

export type ConsoleFormat = 'json' | 'compact' | 'table';

export interface ConsoleOptions {
  env: Env;
  observer: ConsoleObserver;
  format: ConsoleFormat;
  startTick: bigint;
  ring: Parameters<typeof planRing>[0];
  reader: Omit<ReaderSetup, 'geometry' | 'memory'>;
  /** Resolves when the output accepts more: a slow terminal stops the stream. */
  print(text: string): Promise<void>;
}

/** What console mode reports, apart from log lines. */
export interface ConsoleObserver extends ReaderObserver {
  printed(ticks: number): void;
  /** a frame that does not decode to a tick */
  refused(): void;
}

/** the reader runs once here */
const RUN = 1;

/** OUTPUT_MODE=console: the same reader and ring, with stdout in place of parsers, writers and database. */
export class ConsoleIngester {
  readonly #options: ConsoleOptions;
  readonly #ring: Ring;
  readonly #reader: ReaderThread;
  #printing: Promise<void> = Promise.resolve();
  #stream: StreamState = { kind: 'stopped' };
  #head: bigint | null = null;
  #drained: (() => void) | null = null;

  constructor(options: ConsoleOptions) {
    this.#options = options;
    this.#ring = new Ring(planRing(options.ring));
    const { reader, env, observer } = options;
    this.#reader = new ReaderThread(this.#ring, reader, env, observer, {
      fromReader: (message) => this.#fromReader(message),
      readerDied: () => {
        this.#ring.clear();
        this.start();
      },
    });
  }

  get stream(): StreamState {
    return this.#stream;
  }

  get head(): bigint | null {
    return this.#head;
  }

  get bufferedTicks(): number {
    return this.#ring.bufferedTicks;
  }

  start(): void {
    if (this.#options.format === 'table') this.#printing = this.#options.print(tableHeader());
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

  #fromReader(message: ReaderMessage): void {
    if (message.type === 'sealed') this.#printing = this.#printing.then(() => this.#print(message.batch));
    // nothing is stored to compare them with
    if (message.type === 'repeated') this.#reader.post({ type: 'audited', run: RUN });
    if (message.type === 'compare') {
      const { run, id } = message;
      this.#reader.post({ type: 'compared', run, id, comparison: { kind: 'unknown', below: null } });
    }
    if (message.type === 'forked')
      this.#options.env.log('error', 'The sequencer has another chain', { reason: message.reason });
    if (message.type === 'state') this.#stream = message.state;
    if (message.type === 'head') this.#head = message.head;
    if (message.type === 'drained') this.#drained?.();
  }

  async #print(batch: SealedBatch): Promise<void> {
    const lines: string[] = [];
    for (const frame of this.#frames(batch)) {
      try {
        lines.push(format(decodeTick(frame), frame.length, this.#options.format));
      } catch (error) {
        const { env, observer } = this.#options;
        const fields = { error: (error as Error).message, near_tick: batch.first.toString() };
        observer.refused();
        env.log('warn', 'A frame that is no tick', fields);
      }
    }
    if (lines.length > 0) await this.#options.print(lines.join(''));
    this.#options.observer.printed(lines.length);
    if (batch.slab !== null) this.#ring.free(batch.slab);
    this.#ring.addBufferedTicks(-batch.ticks);
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
