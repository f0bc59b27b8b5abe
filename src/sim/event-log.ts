import { closeSync, openSync, writeSync } from 'node:fs';
import { formatMicros, type Clock } from '../core/time.ts';

/**
 * The simulator's log of what it did, as JSON lines; u64 are strings. Events and their fields:
 *
 * - `listening` address; `stop`; `frozen` head (on SIGUSR1: the last tick there will be)
 * - `stream` id, peer, start_tick: a StreamTicks call came in
 * - `end` id, sent (ticks, repeated and bad ones included), first, last (numbers, null when nothing was sent), status
 *   (CANCELLED = the client went away)
 * - `get_tick` peer, tick, found
 * - `fault` id (of the stream), kind, tick, and what the kind has: form, old (the rewritten number), ms, from (where a
 *   fork starts)
 */
export class EventLog {
  readonly #file: number | null;
  readonly #clock: Clock;
  #lines = '';
  #flush: NodeJS.Immediate | null = null;

  /** @param path appended to; null = no log */
  constructor(path: string | null, clock: Clock) {
    this.#file = path === null ? null : openSync(path, 'a');
    this.#clock = clock;
  }

  write(event: string, fields: Readonly<Record<string, bigint | number | string | boolean | null>>): void {
    if (this.#file === null) return;
    const line = { time: formatMicros(this.#clock.nowMicros()), event, ...fields };
    this.#lines += `${JSON.stringify(line, (_, value: unknown) => (typeof value === 'bigint' ? `${value}` : value))}\n`;
    // One write for all events of an event loop turn: faults may come by the thousand.
    this.#flush ??= setImmediate(() => this.flush());
  }

  flush(): void {
    if (this.#flush !== null) clearImmediate(this.#flush);
    this.#flush = null;
    if (this.#file !== null && this.#lines !== '') writeSync(this.#file, this.#lines);
    this.#lines = '';
  }

  close(): void {
    this.flush();
    if (this.#file !== null) closeSync(this.#file);
  }
}
