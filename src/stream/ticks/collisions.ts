import type { Env } from '../../core/env.ts';
import type { Meter } from '../meter.ts';
import type { TickEvent } from '../../core/market/event.ts';
import type { DeliveredTick } from './batch.ts';
import type { RefusedTick } from '../shared/sink.ts';

/** How often a provider that does not number its trades is told of, ms. */
const TOLD_EVERY_MS = 60_000;
/** Recent ticks that are remembered, at least and up to twice as many: trades of one time come close together. */
const REMEMBERED = 10_000;
/** Providers told of at once; further ones are counted alone. */
const PROVIDERS_MAX = 5;

/** What one provider has lost since it was last told of. */
interface Loss {
  /** dead letters `conflict` */
  otherContent: number;
  /** taken for repetitions */
  sameContent: number;
  /** of one of them */
  eventId: string;
}

/**
 * Trades that share their key because their provider sends neither seq nor trade_id. One with other content is a dead
 * letter; one with the same content cannot be told from a repetition, and would vanish without a word. A record that is
 * delivered again is no collision: it has the same position.
 */
export class TickCollisions {
  readonly #env: Env;
  readonly #meter: Meter;
  /** positions of unnumbered ticks by event id; the older half is dropped as a whole */
  #recent = new Map<string, string>();
  #older = new Map<string, string>();
  #losses = new Map<string, Loss>();
  #toldMs = -Infinity;

  constructor(env: Env, meter: Meter) {
    this.#env = env;
    this.#meter = meter;
  }

  /** Takes the ticks of a settled batch, in order, and those of them that were refused. */
  settled(ticks: readonly DeliveredTick[], refused: readonly RefusedTick<TickEvent>[]): void {
    const conflicts = new Set<DeliveredTick['delivery']>();
    for (const { tick, delivery, reason } of refused) {
      if (reason !== 'conflict') continue;
      conflicts.add(delivery);
      this.#meter.count('tick_collisions_total', {});
      if (isUnnumbered(tick)) this.#lost(tick).otherContent += 1;
    }
    for (const each of ticks) {
      if (!isUnnumbered(each.tick)) continue;
      const isRepeated = this.#isKnown(each);
      if (!isRepeated || conflicts.has(each.delivery)) continue;
      this.#meter.count('tick_collisions_total', {});
      this.#lost(each.tick).sameContent += 1;
    }
    this.tell();
  }

  /** Logs what was lost, once a minute at most; to be called now and then, also without ticks. */
  tell(): void {
    const nowMs = this.#env.clock.monotonicMs();
    if (this.#losses.size === 0 || nowMs - this.#toldMs < TOLD_EVERY_MS) return;
    this.#toldMs = nowMs;
    for (const [provider, { otherContent, sameContent, eventId }] of this.#losses) {
      this.#env.log('warn', 'Trades share a key: their provider sends neither seq nor trade_id', {
        provider,
        // dead letters that a retry stores once the provider is declared
        dead_letters: otherContent,
        taken_for_repetitions: sameContent,
        example: eventId,
        do: `send seq or trade_id, or declare providers: { ${provider}: { identity: content } }, see docs/events.md`,
      });
    }
    this.#losses = new Map();
  }

  /** Whether another record had this key; remembers the record. */
  #isKnown({ tick: { eventId }, delivery: { topic, partition, position } }: DeliveredTick): boolean {
    const place = `${topic}:${partition}:${position}`;
    const known = this.#recent.get(eventId) ?? this.#older.get(eventId);
    if (known !== undefined) return known !== place;
    this.#recent.set(eventId, place);
    if (this.#recent.size >= REMEMBERED) {
      this.#older = this.#recent;
      this.#recent = new Map();
    }
    return false;
  }

  #lost({ provider, eventId }: DeliveredTick['tick']): Loss {
    const found = this.#losses.get(provider);
    if (found !== undefined) return found;
    const loss = { otherContent: 0, sameContent: 0, eventId };
    if (this.#losses.size < PROVIDERS_MAX) this.#losses.set(provider, loss);
    return loss;
  }
}

function isUnnumbered({ notes }: DeliveredTick['tick']): boolean {
  return notes !== undefined && notes.includes('unnumbered');
}
