import type { Client } from 'pg';
import { findDeadLetters } from '../../../store/chain/dead-letters.ts';
import { discardDeadLetter, type DiscardOutcome } from '../../../store/chain/discard-dead-letter.ts';
import { filterOf } from './dead-letter.ts';
import type { Print } from '../text.ts';

/** `mdp dlq discard` for dead letters of the chain. Returns why some are left, or null. */
export async function runDiscard(
  client: Client,
  ids: bigint[] | null,
  isJson: boolean,
  print: Print,
): Promise<string | null> {
  const chosen = ids ?? (await findDeadLetters(client, filterOf('open', 'conflict')));
  let left = 0;
  for (const id of chosen) {
    const outcome = await discardDeadLetter(client, id);
    const isDone = outcome.kind === 'discarded' || outcome.kind === 'resolved before';
    if (!isDone) left += 1;
    if (isJson) {
      print(JSON.stringify({ id: Number(id), outcome: outcome.kind.replace(' ', '_'), done: isDone }));
    } else print(`${id}  ${describe(outcome)}`);
  }
  if (chosen.length === 0 && !isJson) print('no open dead letter of reason conflict: nothing to do');
  return left === 0 ? null : `${left} of ${chosen.length} not discarded`;
}

function describe(outcome: DiscardOutcome): string {
  switch (outcome.kind) {
    case 'discarded':
      return `discarded: another tick ${outcome.tick ?? ''} is stored and stays`;
    case 'needed':
      return `${outcome.reason}: stands in the place of a tick, so it stays open; "mdp dlq retry" may store it`;
    case 'resolved before':
      return `resolved before, at ${outcome.at}`;
    case 'absent':
      return 'there is no such dead letter';
  }
}
