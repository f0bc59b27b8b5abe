import type { OutgoingRecord } from '../../bus/bus.ts';
import {
  deadLetterId,
  deadLetterOf,
  encodeDeadLetter,
  type RefusedRecord,
} from '../../core/market/dead-letter.ts';

/** Refused records as they are published to mdp.events.dlq. */
export function deadLetterRecords(refused: readonly RefusedRecord[]): OutgoingRecord[] {
  return refused.map(deadLetterOf).map((letter) => ({
    key: letter.topic,
    eventId: deadLetterId(letter),
    data: encodeDeadLetter(letter),
    encoding: 'json' as const,
  }));
}
