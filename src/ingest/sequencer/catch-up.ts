import { setTimeout as delay } from 'node:timers/promises';
import type { LogLine } from '../../core/env.ts';
import { deadline } from '../../core/wait.ts';
import { askTick } from './ask-tick.ts';
import type { TickServer } from './connection.ts';
import { DOUBT_MS } from './head-watch.ts';

/** A tick of the sequencer beside what is stored. */
export type Comparison =
  | { kind: 'equal' }
  /** which fields, and both digests */
  | { kind: 'different'; detail: string }
  /** it is received, and not committed yet */
  | { kind: 'pending' }
  /** nothing stored to compare it with, or no good tick. below: the highest stored tick below it; null without one */
  | { kind: 'unknown'; below: bigint | null };

/** A part of StreamHost. */
export interface CatchUpHost {
  /** the last tick before the one that is due; null before the first one of a chain */
  had(): bigint | null;
  head(head: bigint): void;
  compare(number: bigint, bytes: Uint8Array): Promise<Comparison>;
  /** no stream is opened, and the head is queried every second */
  state(state: { kind: 'behind'; head: bigint; position: bigint }): void;
  /** The sequencer has a different chain from ours. One sentence. */
  forked(reason: string): void;
}

/** What a comparison found out. `at`: of which tick. */
type Finding =
  | { kind: 'equal'; at: bigint }
  | { kind: 'different'; at: bigint; detail: string }
  | { kind: 'pending' | 'nothing_stored' | 'not_served' };

/** A sequencer that does not answer GetStatus delays a stream by this, ms. */
const ANSWER_MS = 2_000;
/** Ticks with nothing stored for them are passed over, downwards. */
const STEPS_MAX = 4;
/** A sequencer that came up to our position and does not serve the tick there, looks: it keeps less than that. */
const NOT_SERVED_MAX = 10;

/**
 * A sequencer whose head is below our position is behind (a replica, a server that was restored or is restarting) or has
 * another chain (spec P5). Before a stream is opened its head is queried. While it is below our position no stream is
 * opened: the head's tick is compared with what is stored, and once the head has come up to the position, so is the tick
 * there. Equal ones mean the same chain, a different one is a fork. Nothing new is taken in between, over any number of
 * connections.
 */
export class CatchUp {
  readonly #log: LogLine;
  readonly #host: CatchUpHost;
  readonly #isOver: (server: TickServer) => boolean;
  readonly #lookMs: number;
  /** the head was below our position, and the tick there has not been compared since */
  #isUnproven = false;
  /** the log has it */
  #isTold = false;
  #notServed = 0;

  /**
   * isOver: the connection that was asked is no longer in use, so the answer is not wanted. lookMs: between two queries of
   * a head that is below ours.
   */
  constructor(log: LogLine, host: CatchUpHost, isOver: (server: TickServer) => boolean, lookMs = DOUBT_MS) {
    this.#log = log;
    this.#host = host;
    this.#isOver = isOver;
    this.#lookMs = lookMs;
  }

  begin(): void {
    this.#proved();
  }

  /** Whether a stream may be requested on this connection; false when it is over. Rejects when the head is not answered. */
  async admits(server: TickServer): Promise<boolean> {
    let isLow = false;
    /** the head whose tick is the stored one */
    let equalAt: bigint | null = null;
    for (;;) {
      const had = this.#host.had();
      if (had === null) return true;
      const head = await this.#ask(server);
      if (this.#isOver(server)) return false;
      if (head === null) return true;
      this.#host.head(head);
      if (head >= had) {
        const proof = this.#isUnproven ? await this.#prove(server, had) : 'same';
        if (proof !== 'open') return proof === 'same' && !this.#isOver(server);
      } else if (!isLow) {
        this.#isUnproven = true;
        isLow = true;
      } else if (equalAt !== head) {
        const finding = await this.#compare(server, head);
        if (this.#isOver(server)) return false;
        if (finding.kind === 'different') {
          this.#host.forked(`${headBelow(head, had)}, and ${differs(finding)}`);
          return false;
        }
        if (finding.kind === 'equal') equalAt = head;
        this.#tellBehind(finding, head, had);
        this.#host.state({ kind: 'behind', head, position: had });
      }
      await delay(this.#lookMs);
      if (this.#isOver(server)) return false;
    }
  }

  /**
   * A head below ours while the stream goes on beyond it: another server answered, one behind the stream's. Its tick is
   * compared all the same.
   */
  async lookBeside(server: TickServer, head: bigint, had: bigint): Promise<void> {
    const finding = await this.#compare(server, head);
    if (this.#isOver(server) || finding.kind !== 'different') return;
    this.#host.forked(`${headBelow(head, had)}, and ${differs(finding)}`);
  }

  /** No stream is opened before the tick at our position was compared. */
  doubt(): void {
    this.#isUnproven = true;
  }

  /** Null when it is not answered and nothing is in doubt: the stream itself will tell what is wrong. */
  async #ask(server: TickServer): Promise<bigint | null> {
    try {
      if (this.#isUnproven) return await server.head();
      return await deadline(server.head(), ANSWER_MS, () => new Error('GetStatus is not answered'));
    } catch (error) {
      if (this.#isUnproven) throw error;
      return null;
    }
  }

  #tellBehind({ kind }: Finding, head: bigint, position: bigint): void {
    if (this.#isTold) return;
    this.#isTold = true;
    const compared = kind === 'equal' ? 'equal' : 'not possible';
    this.#log('warn', 'The sequencer is behind our position; nothing is taken until it has come up to it', {
      head,
      position,
      its_head_compared: compared,
    });
  }

  /** Whether it is our chain at the position; open: that cannot be told yet. */
  async #prove(server: TickServer, had: bigint): Promise<'same' | 'other' | 'open'> {
    const finding = await this.#compare(server, had);
    if (this.#isOver(server)) return 'other';
    this.#notServed = finding.kind === 'not_served' ? this.#notServed + 1 : 0;
    switch (finding.kind) {
      case 'different':
        this.#host.forked(
          `the sequencer, which was behind our position ${had}, has come up to it, and ${differs(finding)}`,
        );
        return 'other';
      case 'pending':
        return 'open';
      case 'not_served':
        if (this.#notServed < NOT_SERVED_MAX) return 'open';
        this.#log('warn', 'The sequencer came up to our position and does not serve the tick there', {
          position: had,
        });
        break;
      case 'nothing_stored':
        break;
      case 'equal':
        this.#log('info', 'The sequencer has our chain up to the position; going on', {
          position: had,
          compared: finding.at,
        });
    }
    this.#proved();
    return 'same';
  }

  #proved(): void {
    this.#isUnproven = false;
    this.#isTold = false;
    this.#notServed = 0;
  }

  /** The tick of this number, or the nearest below it that is stored. */
  async #compare(server: TickServer, number: bigint): Promise<Finding> {
    let at = number;
    for (let step = 0; step < STEPS_MAX; step += 1) {
      const bytes = await askTick(server, at).catch(() => null);
      if (bytes === null) return { kind: 'not_served' };
      if (this.#isOver(server)) return { kind: 'pending' };
      const comparison = await this.#host.compare(at, bytes);
      if (comparison.kind === 'pending') return comparison;
      if (comparison.kind !== 'unknown') return { ...comparison, at };
      if (comparison.below === null) return { kind: 'nothing_stored' };
      at = comparison.below;
    }
    return { kind: 'not_served' };
  }
}

function headBelow(head: bigint, had: bigint): string {
  return `the head of the sequencer is ${head}, it had sent tick ${had} before`;
}

function differs({ at, detail }: { at: bigint; detail: string }): string {
  return `its tick ${at} is not the one that is stored: ${detail}`;
}
