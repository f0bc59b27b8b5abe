import { type Parser, withoutComment } from './parsers.ts';

/** Every stage of the project, in the order of the data flow. */
const STAGES = ['ingest', 'orders', 'ticks', 'bars', 'signals', 'api'] as const;

export type Stage = (typeof STAGES)[number];

/** The stages that this version has. A stage that is added to the daemon is added here, and nowhere else. */
const IMPLEMENTED_STAGES: readonly Stage[] = ['ingest', 'orders', 'ticks', 'bars', 'signals'];

/**
 * What works on the bus, and the stage it belongs to: each has its own thread, and they read STREAMING_CONFIG. The stage
 * `signals` is two of them, the signal consumer and the inference.
 */
const BUS_STAGES = {
  orders: 'orders',
  ticks: 'ticks',
  bars: 'bars',
  signals: 'signals',
  inference: 'signals',
} as const satisfies Record<string, Stage>;

export type BusStage = keyof typeof BUS_STAGES;

export function busStages(stages: readonly Stage[]): BusStage[] {
  return (Object.keys(BUS_STAGES) as BusStage[]).filter((name) => stages.includes(BUS_STAGES[name]));
}

export const stageList: Parser<readonly Stage[]> = {
  allowed: `all, or a list of: ${IMPLEMENTED_STAGES.join(', ')}`,
  unit: '',
  parse(text) {
    const names = withoutComment(text)
      .split(',')
      .map((name) => name.trim().toLowerCase())
      .filter((name) => name !== '');
    if (names.length === 0) throw new RangeError('names no stage');
    if (names.includes('all')) {
      if (names.length > 1) throw new RangeError('names all and single stages together');
      return IMPLEMENTED_STAGES;
    }
    const unknown = names.filter((name) => !isStage(name));
    if (unknown.length > 0) throw new RangeError(`names an unknown stage: ${unknown.join(', ')}`);
    const missing = names.filter((name) => !IMPLEMENTED_STAGES.some((stage) => stage === name));
    if (missing.length > 0)
      throw new RangeError(missing.map((name) => `stage ${name} is not part of this version`).join('; '));
    return IMPLEMENTED_STAGES.filter((stage) => names.includes(stage));
  },
};

function isStage(name: string): boolean {
  return STAGES.some((stage) => stage === name);
}
