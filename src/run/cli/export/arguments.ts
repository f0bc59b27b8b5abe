import { InvalidArgumentError, Option } from 'commander';
import { FORMS, formByName, type FormName } from '../../../core/export/format.ts';
import { PARTITION_KEYS, type PartitionKey } from '../../../core/export/layout.ts';
import type { RunChoice } from '../../../core/export/request.ts';
import { intervalName, parseInterval } from '../../../core/market/interval.ts';

/** Arguments of `mdp export`, for commander's argParser. */

/** As the table has them: 60s is 1m. In the order of their names, each once. */
export function intervalList(text: string): string[] {
  const names = text.split(',').map((part) => {
    const ms = parseInterval(part.trim());
    if (ms === null)
      throw new InvalidArgumentError('Expected intervals such as 500ms, 1m or 1h, separated by commas.');
    return intervalName(ms);
  });
  return [...new Set(names)].sort();
}

export function runChoice(text: string): RunChoice {
  if (text === 'live' || text === 'all') return text;
  if (!/^[1-9]\d{0,17}$/.test(text))
    throw new InvalidArgumentError('Expected the number of a replay, live or all.');
  return BigInt(text);
}

export function partitionKeys(text: string): PartitionKey[] {
  const names = text.split(',').map((name) => name.trim());
  const keys = PARTITION_KEYS.filter((key) => names.includes(key));
  if (keys.length !== names.length)
    throw new InvalidArgumentError(`Expected ${PARTITION_KEYS.join(', ')}, or both.`);
  return keys;
}

export const FORMAT_OPTION = new Option(
  '--format <name>',
  'the format, where the ending of --output does not say it (partitioned: parquet)',
).choices([...FORMS]);

/** What --format or the ending says; null: neither. */
export function formOfOutput(
  given: FormName | undefined,
  output: string,
  isFolder: boolean,
): FormName | null {
  return given ?? (isFolder ? 'parquet' : formByName(output));
}
