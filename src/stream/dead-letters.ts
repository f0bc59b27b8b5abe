import type { OutgoingRecord } from '../bus/bus.ts';
import {
  deadLetterId,
  deadLetterOf,
  encodeDeadLetter,
  type RefusedRecord,
} from '../core/market/dead-letter.ts';

/** Records as they are put aside on mdp.events.dlq. */
export function deadLetterRecords(letters: readonly RefusedRecord[]): OutgoingRecord[] {
  return letters.map(deadLetterOf).map((letter) => ({
    key: letter.topic,
    eventId: deadLetterId(letter),
    data: encodeDeadLetter(letter),
    encoding: 'json' as const,
  }));
}
