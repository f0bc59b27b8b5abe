import { InvalidArgumentError, Option, type Command } from 'commander';
import type { ReplayFields } from '../../../core/replay/request.ts';
import type { ScheduleFields } from '../../../store/replay/schedules.ts';
import type { StreamingConfig } from '../../config/streaming/load.ts';
import { wholeNumber } from '../arguments.ts';
import { datasetFields } from './replays.ts';

export interface RequestArguments {
  dataset?: string;
  provider?: string[];
  symbols?: string[];
  from?: string;
  to?: string;
  last?: string;
  speed?: number;
  source?: string[];
  interval?: string;
  maxBatchSize?: number;
  topic?: string;
  repair?: true;
}

/** For commander's argParser: what it means is checked with the whole request. */
export function speed(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || Number.isNaN(value)) throw new InvalidArgumentError('Expected a number.');
  return value;
}

function list(text: string): string[] {
  return text.split(',').map((name) => name.trim());
}

/** What is replayed, and how. */
export function withRequestOptions(command: Command): Command {
  return command
    .option('--dataset <name>', 'providers, symbols and sources of a dataset of the configuration')
    .option('--provider <list>', 'providers, separated by commas', list)
    .option('--symbols <list>', 'symbols, separated by commas', list)
    .option('--from <time>', 'ISO-8601, UTC without a zone: the first tick is at or behind it')
    .option('--to <time>', 'ISO-8601: the end, itself excluded')
    .option(
      '--speed <n>',
      '1 as it was, 10 ten times as fast, 0 as fast as the bus takes it (default: 1)',
      speed,
    )
    .addOption(
      new Option(
        '--source <list>',
        'tables that are merged by time: tick_data, md_ticks, bars (default: tick_data)',
      ).argParser(list),
    )
    .option('--interval <length>', 'of the bars of the source bars, such as 1m')
    .option('--max-batch-size <rows>', 'rows that are read at once (default: 20000)', wholeNumber)
    .option('--topic <name>', 'where the events go (default: that of market events)')
    .option('--repair', 'also fill live bars within the range that are missing or have fewer ticks');
}

/** @throws ReplayRefused unknown_dataset */
export function fieldsOf(options: RequestArguments, config: StreamingConfig): ReplayFields {
  const { dataset, provider, symbols, from, to, speed, source, interval, maxBatchSize, topic, repair } =
    options;
  return {
    ...(dataset === undefined ? {} : datasetFields(config, dataset)),
    ...(provider === undefined ? {} : { providers: provider }),
    ...(symbols === undefined ? {} : { symbols }),
    ...(source === undefined ? {} : { sources: source }),
    ...(interval === undefined ? {} : { interval }),
    ...(from === undefined ? {} : { start: from }),
    ...(to === undefined ? {} : { end: to }),
    ...(speed === undefined ? {} : { speed }),
    ...(maxBatchSize === undefined ? {} : { max_batch_size: maxBatchSize }),
    ...(topic === undefined ? {} : { topic }),
    ...(repair === undefined ? {} : { repair }),
  };
}

export function scheduleFieldsOf(options: RequestArguments, config: StreamingConfig): ScheduleFields {
  const { last } = options;
  return { ...fieldsOf(options, config), ...(last === undefined ? {} : { last }) };
}
