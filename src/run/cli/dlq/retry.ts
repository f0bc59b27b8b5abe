import type { Client } from 'pg';
import { fieldsText } from '../../../core/chain/digest.ts';
import type { TranscodeLimits } from '../../../core/copy/transcode.ts';
import { findDeadLetters } from '../../../store/chain/dead-letters.ts';
import { retryDeadLetter, type RetryOutcome } from '../../../store/chain/retry-dead-letter.ts';
import { filterOf } from './dead-letter.ts';
import { printable, type Print } from '../text.ts';

/** Parses dead letters again and stores what is good now. Returns why some are left, or null. */
export async function runRetry(
  client: Client,
  ids: bigint[] | null,
  options: { reason?: string; json?: true },
  limits: () => TranscodeLimits,
  print: Print,
): Promise<string | null> {
  const isJson = options.json === true;
  const chosen = ids ?? (await findDeadLetters(client, filterOf('open', options.reason)));
  const counts = new Map<string, number>();
  let left = 0;
  for (const id of chosen) {
    const outcome = await retryDeadLetter(client, id, limits());
    print(isJson ? JSON.stringify(outcomeJson(id, outcome)) : `${id}  ${describe(outcome)}`);
    const name = NAMES[outcome.kind];
    counts.set(name, (counts.get(name) ?? 0) + 1);
    if (!DONE.has(outcome.kind)) left += 1;
  }
  if (chosen.length === 0 && !isJson) {
    print(
      `no open dead letter${options.reason === undefined ? '' : ` of reason ${options.reason}`}: nothing to do`,
    );
  } else if (!isJson) {
    print([...counts].map(([name, count]) => `${count} ${name}`).join(', '));
  }
  return left === 0 ? null : `${left} of ${chosen.length} not resolved; "mdp dlq show ID" tells more`;
}

const DONE: ReadonlySet<RetryOutcome['kind']> = new Set(['stored', 'equal', 'resolved before'] as const);

const NAMES: Readonly<Record<RetryOutcome['kind'], string>> = {
  stored: 'stored',
  equal: 'already stored',
  conflict: 'in conflict',
  bad: 'still bad',
  refused: 'refused by the database',
  unplaced: 'without a place',
  'resolved before': 'resolved before',
  absent: 'not found',
};

const FIELDS_SHOWN = 5;

function describe(outcome: RetryOutcome): string {
  switch (outcome.kind) {
    case 'stored': {
      const gap = outcome.gap === null ? '' : `, taken out of a gap that was ${outcome.gap}`;
      const also = outcome.also.length === 0 ? '' : `, resolved with it: ${outcome.also.join(', ')}`;
      const broken =
        outcome.brokenLinks.length === 0 ? '' : `, link broken at ${outcome.brokenLinks.join(', ')}`;
      return `stored: tick ${outcome.tick} with ${outcome.transactions} transactions${gap}${also}${broken}`;
    }
    case 'equal':
      return `already stored: tick ${outcome.tick} is equal, resolved`;
    case 'conflict': {
      const fields = fieldsText(outcome.fields, FIELDS_SHOWN);
      return `conflict: another tick ${outcome.tick} is stored, differing in ${fields}; stays open`;
    }
    case 'bad':
      return `still bad: ${outcome.reason}: ${printable(outcome.detail)}; stays open`;
    case 'refused':
      return `refused: tick ${outcome.tick}: ${printable(outcome.detail)} (${outcome.sqlstate}); stays open`;
    case 'unplaced':
      return `no place: ${outcome.detail}; stays open`;
    case 'resolved before':
      return `resolved before, at ${outcome.at}`;
    case 'absent':
      return 'there is no such dead letter';
  }
}

function outcomeJson(id: bigint, outcome: RetryOutcome): Record<string, unknown> {
  const { kind, ...rest } = outcome;
  const values = Object.entries(rest).map(([name, value]) => [
    name === 'brokenLinks' ? 'broken_links' : name,
    typeof value === 'bigint' ? value.toString() : value,
  ]);
  return {
    id: Number(id),
    outcome: kind.replace(' ', '_'),
    done: DONE.has(kind),
    ...Object.fromEntries(values),
  };
}
