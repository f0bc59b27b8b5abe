import { escapeLiteral, type Client, type QueryResult } from 'pg';
import type { BarRow } from '../../core/market/bar.ts';
import type { LateWindow, Resume, Step } from '../../core/window/step.ts';
import { barRowOf, rowsJson, type SelectedBar } from './rows.ts';
import { differingStatement, insertStatement, rollupStatement } from './sql.ts';
import { markStatement, watermarksStatement } from './state.ts';
import type { GroupName, HeldPartition } from '../bus/partitions.ts';

/** The owner and number of the transaction: a step is committed once. */
export interface StepFrame {
  name: GroupName;
  held: HeldPartition;
  /** one more than the last committed one */
  number: bigint;
  /** the log that the positions belong to */
  log: string;
}

/** What a step writes about the partition. */
export type StepPlace = Resume & Pick<Step, 'dropped'>;

/** What the live rows of a step ran into. */
export interface SentStep {
  /** false: it is already committed, its answer was lost; no transaction is open then */
  isNew: boolean;
  inserted: number;
  /** windows that already have a different bar, which stays */
  differing: BarRow[];
  merged: number;
  /** final rollups that differ in the table */
  differingRollups: BarRow[];
}

const BEGIN = 'BEGIN ISOLATION LEVEL READ COMMITTED';

function text(value: string | null): string {
  return value === null ? 'NULL' : escapeLiteral(value);
}

/** Fence, epoch and number of the step. MDF01 when the partition was taken over; false: this step is already committed. */
function beginStatement({ name, held, number, log }: StepFrame, at: StepPlace): string {
  const values = [
    text(name.topic),
    text(name.group),
    held.partition,
    held.epoch,
    text(at.position),
    number,
    text(log),
    text(at.openAfter),
    at.openCount,
    at.dropped,
  ];
  return `SELECT bars_begin_step(${values.join(', ')}) AS begun`;
}

/** Begins the transaction of a step. False: it is already committed, its answer was lost; no transaction is open then. */
export async function beginStep(client: Client, frame: StepFrame, at: StepPlace): Promise<boolean> {
  const results = await sendTogether(client, [BEGIN, beginStatement(frame, at)]);
  return hasBegun(client, results[1]);
}

/**
 * Begins the transaction of a step and writes what nearly every step has, in one round trip: the thread that waits for
 * the answers also takes the next entries.
 */
export async function sendStep(
  client: Client,
  frame: StepFrame,
  step: Step,
  late: readonly LateWindow[],
): Promise<SentStep> {
  const jsonOf = (rows: readonly BarRow[]): string => escapeLiteral(rowsJson(rows.filter(isLive)));
  const hasWindows = step.windows.some(isLive);
  const hasRollups = step.rollups.some(isLive);
  const statements = new Map<string, string>([
    ['open', BEGIN],
    ['begin', beginStatement(frame, step)],
  ]);
  if (step.watermarks.length > 0) statements.set('watermarks', watermarksStatement(frame, step.watermarks));
  if (late.length > 0) statements.set('marks', markStatement(frame, late));
  if (hasWindows) {
    const json = jsonOf(step.windows);
    statements.set('windows', insertStatement('bars_ohlcv', json));
    statements.set('differing', differingStatement('bars_ohlcv', json));
  }
  if (hasRollups) {
    const json = jsonOf(step.rollups);
    statements.set('rollups', rollupStatement('bars_ohlcv', json));
    statements.set('differingRollups', differingStatement('bars_ohlcv', json));
  }
  const answers = await sendTogether(client, [...statements.values()]);
  const results = new Map([...statements.keys()].map((name, at) => [name, answers[at]]));
  const countOf = (name: string): number =>
    Number((results.get(name)?.rows[0] as { n: string } | undefined)?.n ?? 0);
  const barsOf = (name: string): BarRow[] =>
    ((results.get(name)?.rows ?? []) as SelectedBar[]).map((row) => ({ ...barRowOf(row), runId: 0n }));
  return {
    isNew: await hasBegun(client, results.get('begin')),
    inserted: countOf('windows'),
    differing: barsOf('differing'),
    merged: countOf('rollups'),
    differingRollups: barsOf('differingRollups'),
  };
}

function isLive({ runId }: BarRow): boolean {
  return runId === 0n;
}

async function hasBegun(client: Client, result: QueryResult | undefined): Promise<boolean> {
  if ((result?.rows[0] as { begun: boolean } | undefined)?.begun === true) return true;
  await client.query('ROLLBACK');
  return false;
}

/** A simple query of several statements, answered individually. */
async function sendTogether(client: Client, statements: readonly string[]): Promise<QueryResult[]> {
  return (await client.query(statements.join(';\n'))) as unknown as QueryResult[];
}
