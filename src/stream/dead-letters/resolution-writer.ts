import type { StreamBus } from '../../bus/bus.ts';
import { DEAD_LETTER_TOPIC } from '../../core/market/dead-letter.ts';
import { encodeResolution, type ResolvedBy, type ResolvedDeadLetter } from '../../core/market/resolution.ts';
import type { Clock } from '../../core/time.ts';

/** dead letters that one record resolves */
const RESOLVED_MAX = 100;

/** Publishes which dead letters are resolved, some at a time. */
export class ResolutionWriter {
  readonly #bus: Pick<StreamBus, 'publish'>;
  readonly #by: ResolvedBy;
  readonly #clock: Clock;
  #deadLetters: ResolvedDeadLetter[] = [];

  constructor(bus: Pick<StreamBus, 'publish'>, by: ResolvedBy, clock: Clock) {
    this.#bus = bus;
    this.#by = by;
    this.#clock = clock;
  }

  async add(deadLetter: ResolvedDeadLetter): Promise<void> {
    this.#deadLetters.push(deadLetter);
    if (this.#deadLetters.length >= RESOLVED_MAX) await this.flush();
  }

  /** Resolves when everything added is on the bus. Rejects with BusError. */
  async flush(): Promise<void> {
    if (this.#deadLetters.length === 0) return;
    const data = encodeResolution({
      by: this.#by,
      deadLetters: this.#deadLetters,
      at: this.#clock.nowMicros(),
    });
    await this.#bus.publish(DEAD_LETTER_TOPIC, [
      { key: DEAD_LETTER_TOPIC, eventId: null, data, encoding: 'json' },
    ]);
    this.#deadLetters = [];
  }
}
