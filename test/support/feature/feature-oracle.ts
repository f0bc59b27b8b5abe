import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FeatureSet } from '../../../src/core/feature/catalogue.ts';
import { SymbolFeatures } from '../../../src/core/feature/symbol-features.ts';
import type { FeatureTick } from '../../../src/core/feature/tick.ts';
import { runOracle } from '../python.ts';

export type Feed = ReadonlyMap<string, readonly FeatureTick[]>;

/** A time, whether it is the close of a window (1) or that of a tick (0), and the features: NaN is null. */
export type Row = readonly number[];

/** Rows of test/oracle/features.py: of each symbol, by name, at the close of each window with a tick and at each µs of ticks. */
export async function oracleRows(set: FeatureSet, feed: Feed, windowMs: number): Promise<Row[]> {
  const folder = await mkdtemp(join(tmpdir(), 'tick-features-'));
  try {
    const [ticks, out] = [join(folder, 'ticks.csv'), join(folder, 'rows')];
    await writeFile(
      ticks,
      [...feed].flatMap(([symbol, all]) => all.map((tick) => csvOf(symbol, tick))).join(''),
    );
    const features = set.specs.map(({ name, kind, horizonMs }) => [name, kind, horizonMs]);
    const lengths = ['--grid-ms', `${set.gridMs}`, '--window-ms', `${windowMs}`];
    await runOracle('features.py', [ticks, '--out', out, '--features', JSON.stringify(features), ...lengths]);
    const { buffer } = new Uint8Array(await readFile(out));
    const values = new Float64Array(buffer);
    const width = 2 + set.names.length;
    return Array.from({ length: values.length / width }, (_, at) => [
      ...values.subarray(at * width, (at + 1) * width),
    ]);
  } finally {
    await rm(folder, { recursive: true });
  }
}

function csvOf(symbol: string, { tsUs, seq, price, size, bid, ask, side }: FeatureTick): string {
  return `${[symbol, tsUs, seq, price, size, bid, ask, side].map((value) => value ?? '').join(',')}\n`;
}

/** The same rows of src/core/feature. */
export function ownRows(set: FeatureSet, feed: Feed, windowMs: number): Row[] {
  return [...feed]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([, ticks]) => rowsOf(new SymbolFeatures(set), ticks, windowMs * 1000));
}

function rowsOf(features: SymbolFeatures, ticks: readonly FeatureTick[], windowUs: number): Row[] {
  const rows: Row[] = [];
  for (const [at, tick] of ticks.entries()) {
    features.add(tick);
    const next = ticks[at + 1]?.tsUs ?? Infinity;
    if (next > tick.tsUs) rows.push([tick.tsUs, 0, ...features.values(tick.tsUs)]);
    const end = (Math.floor(tick.tsUs / windowUs) + 1) * windowUs;
    if (next >= end) rows.push([end, 1, ...features.values(end)]);
  }
  return rows;
}

/** One feature in all rows. */
export interface Agreement {
  name: string;
  /** the greatest |ours − theirs| / max(1, |theirs|) */
  greatest: number;
  values: number;
  nulls: number;
}

/** @throws Error that names the first row where more than 1e-9 · max(1, |x|) is between the two, or only one is null */
export function compareRows(
  { names }: FeatureSet,
  ours: readonly Row[],
  theirs: readonly Row[],
): Agreement[] {
  if (ours.length !== theirs.length) throw new Error(`${ours.length} rows are not ${theirs.length}`);
  const agreements = names.map((name): Agreement => ({ name, greatest: 0, values: 0, nulls: 0 }));
  for (const [at, own] of ours.entries()) {
    const other = theirs[at];
    if (own[0] !== other[0] || own[1] !== other[1])
      throw new Error(`row ${at} is of ${own[0]} (${own[1]}) and not of ${other[0]} (${other[1]})`);
    for (const [of, agreement] of agreements.entries()) {
      const [value, expected] = [own[2 + of], other[2 + of]];
      const isNull = Number.isNaN(value);
      const off = Math.abs(value - expected) / Math.max(1, Math.abs(expected));
      if (isNull !== Number.isNaN(expected) || off > 1e-9)
        throw new Error(
          `${agreement.name} is ${value} and not ${expected} in row ${at}, at ${own[0]} (${own[1]})`,
        );
      if (isNull) agreement.nulls += 1;
      else {
        agreement.values += 1;
        agreement.greatest = Math.max(agreement.greatest, off);
      }
    }
  }
  return agreements;
}
