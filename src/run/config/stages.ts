import { type Parser, withoutComment } from './parsers.ts';

/** Every stage of the project, in the order of the data flow. */
const STAGES = ['ingest', 'orders', 'ticks', 'bars', 'signals', 'api'] as const;

export type Stage = (typeof STAGES)[number];

/**
 * What works on the bus, and the stage it belongs to: each has its own thread, and they read STREAMING_CONFIG. The stage
 * `signals` is two of them, the signal consumer and the inference, and `api` is three: what its webhook takes is
 * stored by the flusher, and the replays that are asked of it run beside it.
 */
const BUS_STAGES = {
  orders: 'orders',
  ticks: 'ticks',
  bars: 'bars',
  signals: 'signals',
  inference: 'signals',
  flusher: 'api',
  replay: 'api',
  api: 'api',
} as const satisfies Record<string, Stage>;

export type BusStage = keyof typeof BUS_STAGES;

export function busStages(stages: readonly Stage[]): BusStage[] {
  return (Object.keys(BUS_STAGES) as BusStage[]).filter((name) => stages.includes(BUS_STAGES[name]));
}

export const stageList: Parser<readonly Stage[]> = {
  allowed: `all, or a list of: ${STAGES.join(', ')}`,
  unit: '',
  parse(text) {
    const names = withoutComment(text)
      .split(',')
      .map((name) => name.trim().toLowerCase())
      .filter((name) => name !== '');
    if (names.length === 0) throw new RangeError('names no stage');
    if (names.includes('all')) {
      if (names.length > 1) throw new RangeError('names all and single stages together');
      return STAGES;
    }
    const unknown = names.filter((name) => !isStage(name));
    if (unknown.length > 0) throw new RangeError(`names an unknown stage: ${unknown.join(', ')}`);
    return STAGES.filter((stage) => names.includes(stage));
  },
};

function isStage(name: string): boolean {
  return STAGES.some((stage) => stage === name);
}
