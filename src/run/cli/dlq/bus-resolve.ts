/** `mdp dlq retry` and `mdp dlq discard` for the dead letters on the bus. */
import type { OutgoingRecord, StreamBus } from '../../../bus/bus.ts';
import { deadLetterId, type MarketDeadLetter } from '../../../core/market/dead-letter.ts';
import type { Clock } from '../../../core/time.ts';
import { ResolutionWriter } from '../../../stream/dead-letters/resolution-writer.ts';
import { eachDeadLetter, type ResolvedDeadLetters } from '../../../stream/dead-letters/topic.ts';
import { printable, type Print } from '../text.ts';

export interface BusChoice {
  /** null: all that are open and fit the reason */
  ids: readonly string[] | null;
  reason: string | null;
  isJson: boolean;
}

/** What became of a dead letter. */
interface Outcome {
  name: 'published_again' | 'discarded' | 'resolved_before' | 'cut' | 'not_found';
  /** where it was published again */
  msgId: string | null;
}

const DONE: ReadonlySet<Outcome['name']> = new Set([
  'published_again',
  'discarded',
  'resolved_before',
] as const);

/**
 * Publishes their records again, each on its topic, under its key and in its encoding, and marks them as resolved. Returns why
 * it failed, or null.
 */
export async function retryBusDeadLetters(
  bus: StreamBus,
  choice: BusChoice,
  clock: Clock,
  print: Print,
): Promise<string | null> {
  const writer = new ResolutionWriter(bus, 'retried', clock);
  const { chosen, left } = await forChosen(bus, choice, writer, print, async (deadLetter) => {
    if (deadLetter.rawBytes > deadLetter.raw.length) return { name: 'cut', msgId: null };
    // mdp.events:3 names a partition, which the key decides
    const [topic = deadLetter.topic] = deadLetter.topic.split(':');
    const [msgId = ''] = await bus.publish(topic, [recordOf(deadLetter)]);
    return { name: 'published_again', msgId };
  });
  return left === 0 ? null : `${left} of ${chosen} not published again`;
}

/** Marks them as resolved and does nothing else. Returns why it failed, or null. */
export async function discardBusDeadLetters(
  bus: StreamBus,
  choice: BusChoice,
  clock: Clock,
  print: Print,
): Promise<string | null> {
  const writer = new ResolutionWriter(bus, 'discarded', clock);
  const { chosen, left } = await forChosen(bus, choice, writer, print, () =>
    Promise.resolve({ name: 'discarded', msgId: null }),
  );
  return left === 0 ? null : `${left} of ${chosen} not discarded`;
}

/** Interrupted at any moment, a dead letter is open or resolved: one that was published and is still open is published twice. */
async function forChosen(
  bus: StreamBus,
  { ids, reason, isJson }: BusChoice,
  writer: ResolutionWriter,
  print: Print,
  act: (deadLetter: MarketDeadLetter) => Promise<Outcome>,
): Promise<{ chosen: number; left: number }> {
  const resolved: ResolvedDeadLetters = await eachDeadLetter(bus, () => {});
  const wanted = ids === null ? null : new Set(ids);
  const missing = new Set(ids);
  let chosen = 0;
  let left = 0;
  const tell = (id: string, { name, msgId }: Outcome): void => {
    chosen += 1;
    const done = DONE.has(name);
    if (!done) left += 1;
    if (isJson) print(JSON.stringify({ event_id: id, outcome: name, done, msg_id: msgId }));
    else print(`${printable(id)}  ${name.replaceAll('_', ' ')}${msgId === null ? '' : ` as ${msgId}`}`);
  };
  try {
    await eachDeadLetter(bus, async (deadLetter, key) => {
      const id = deadLetterId(deadLetter);
      const isOpen = !resolved.has(key);
      if (wanted === null ? !isOpen || (reason !== null && deadLetter.reason !== reason) : !wanted.has(id))
        return;
      missing.delete(id);
      const outcome: Outcome = isOpen ? await act(deadLetter) : { name: 'resolved_before', msgId: null };
      if (isOpen && DONE.has(outcome.name)) {
        await writer.add({ id, rawSha256: deadLetter.rawSha256, msgId: outcome.msgId });
      }
      tell(id, outcome);
    });
  } finally {
    await writer.flush();
  }
  for (const id of missing) tell(id, { name: 'not_found', msgId: null });
  if (chosen === 0 && !isJson) print('no open dead letter on the bus fits: nothing to do');
  return { chosen, left };
}

function recordOf({ key, raw, encoding }: MarketDeadLetter): OutgoingRecord {
  return { key: key ?? '', eventId: null, data: raw, encoding };
}
