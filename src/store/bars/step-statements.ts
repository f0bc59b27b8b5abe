import { escapeLiteral, type Client, type QueryResult } from 'pg';
import type { BarRow } from '../../core/market/bar.ts';
import type { LateWindow, Resume, Step } from '../../core/window/step.ts';
import { barRowOf, rowsJson, spanOf, type SelectedBar } from './rows.ts';
import { differingStatement, insertStatement, rollupStatement } from './sql.ts';
import { markStatement, watermarksStatement } from './state.ts';
import type { GroupName, HeldPartition } from '../bus/partitions.ts';
import { beginWriting } from '../postgres/pooler.ts';

/** The owner and number of the transaction: a step is committed once. */
export interface StepFrame {
  name: GroupName;
  held: HeldPartition;
  /** one more than the last committed one */
  number: bigint;
  /** the log that the positions belong to */
  log: string;
  /** bars that one statement writes at most; default: all of a step */
  rowsMax?: number;
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
  const results = await sendTogether(client, [...beginWriting(client), beginStatement(frame, at)]);
  return hasBegun(client, results.at(-1));
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
  const statements: Statement[] = [
    ...beginWriting(client).map((sql) => ({ kind: 'open', sql })),
    { kind: 'begin', sql: beginStatement(frame, step) },
  ];
  const add = (kind: string, sql: string): void => void statements.push({ kind, sql });
  if (step.watermarks.length > 0) add('watermarks', watermarksStatement(frame, step.watermarks));
  if (late.length > 0) add('marks', markStatement(frame, late));
  for (const part of partsOf(step.windows.filter(isLive), frame.rowsMax)) {
    const json = escapeLiteral(rowsJson(part));
    add('windows', insertStatement('bars_ohlcv', json));
    add('differing', differingStatement('bars_ohlcv', json, spanOf(part)));
  }
  for (const part of partsOf(step.rollups.filter(isLive), frame.rowsMax)) {
    const json = escapeLiteral(rowsJson(part));
    add('rollups', rollupStatement('bars_ohlcv', json));
    add('differingRollups', differingStatement('bars_ohlcv', json, spanOf(part)));
  }
  const answers = await sendTogether(
    client,
    statements.map(({ sql }) => sql),
  );
  const rowsOf = (kind: string): unknown[] =>
    answers.flatMap(({ rows }, at) => (statements[at].kind === kind ? (rows as unknown[]) : []));
  const countOf = (kind: string): number =>
    (rowsOf(kind) as { n: string }[]).reduce((sum, { n }) => sum + Number(n), 0);
  const barsOf = (kind: string): BarRow[] =>
    (rowsOf(kind) as SelectedBar[]).map((row) => ({ ...barRowOf(row), runId: 0n }));
  return {
    isNew: await hasBegun(client, answers[statements.findIndex(({ kind }) => kind === 'begin')]),
    inserted: countOf('windows'),
    differing: barsOf('differing'),
    merged: countOf('rollups'),
    differingRollups: barsOf('differingRollups'),
  };
}

/** A statement of a step, and what its answer is. */
interface Statement {
  kind: string;
  sql: string;
}

function partsOf(rows: readonly BarRow[], rowsMax = Infinity): BarRow[][] {
  const parts: BarRow[][] = [];
  for (let at = 0; at < rows.length; at += rowsMax) parts.push(rows.slice(at, at + rowsMax));
  return parts;
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
