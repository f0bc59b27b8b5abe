import { randomBytes } from 'node:crypto';
import type { Clock } from '../../../core/time.ts';
import type { Principal } from '../access.ts';

/** Whom a ticket stands for, and whether that one may still be here. */
export interface TicketHolder {
  principal: Principal;
  isValid: () => boolean;
}

interface Entry extends TicketHolder {
  untilMs: number;
}

export const TICKET_SECONDS = 30;
/** tickets that nobody has used yet */
const TICKETS_MAX = 10_000;

/**
 * Tickets for browsers, which can give EventSource and WebSocket no header: 256 random bits in the address, good once and for
 * 30 s, so that one found in a log is of no use.
 */
export class Tickets {
  readonly #clock: Clock;
  readonly #entries = new Map<string, Entry>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Null: too many are unused. */
  issue(holder: TicketHolder): string | null {
    const nowMs = this.#clock.monotonicMs();
    // in the order in which they were made
    for (const [ticket, { untilMs }] of this.#entries) {
      if (untilMs > nowMs) break;
      this.#entries.delete(ticket);
    }
    if (this.#entries.size >= TICKETS_MAX) return null;
    const ticket = randomBytes(32).toString('base64url');
    this.#entries.set(ticket, { ...holder, untilMs: nowMs + TICKET_SECONDS * 1000 });
    return ticket;
  }

  /** Uses it up. Null: there is no such ticket, it was used, is too old, or its credential is not valid any more. */
  redeem(ticket: string): TicketHolder | null {
    const entry = this.#entries.get(ticket);
    this.#entries.delete(ticket);
    if (entry === undefined || entry.untilMs <= this.#clock.monotonicMs() || !entry.isValid()) return null;
    return entry;
  }
}
