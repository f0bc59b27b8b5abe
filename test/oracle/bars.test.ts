import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type Test } from 'tap';
import { computeBars, type OracleCounts, type OracleOptions } from '../support/bars/python-oracle.ts';
import { noOracle } from '../support/python.ts';

const skip = noOracle();
const SECOND = 1_000_000;
/** 2025-08-23T23:59:58Z: the last 2 s of a minute, an hour and a day */
const START = Date.UTC(2025, 7, 23, 23, 59, 58) * 1000;

interface Run {
  counts: OracleCounts;
  /** of the CSV, without provider and symbol: interval, ts, open … is_final */
  rows: string[][];
  late: string[];
}

async function linesOf(path: string): Promise<string[]> {
  return (await readFile(path, 'utf8')).split('\n').filter((line) => line !== '');
}

async function run(
  t: Test,
  phases: readonly (readonly string[])[],
  more: Partial<OracleOptions> = {},
): Promise<Run> {
  const folder = await mkdtemp(join(tmpdir(), 'tick-oracle-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const events = phases.map((_, at) => join(folder, `events-${at}.csv`));
  await Promise.all(phases.map((lines, at) => writeFile(events[at], `${lines.join('\n')}\n`)));
  const out = join(folder, 'bars.csv');
  const lateOut = join(folder, 'late');
  const turnedAway =
    more.turnedAway === undefined ? {} : { turnedAway: { ...more.turnedAway, out: lateOut } };
  const counts = await computeBars({ events, out, windowMs: 2000, ...turnedAway });
  const rows = (await linesOf(out)).map((line) => line.split(','));
  return { counts, rows, late: more.turnedAway === undefined ? [] : await linesOf(lateOut) };
}

/** `after` in µs from START */
function event(symbol: string, after: number, seq: number, price: string, size: string): string {
  return ['p', symbol, START + after, seq, price, size].join(',');
}

const at = (time: string): string => `2025-08-${time}Z`;

void test('bars are those of a table computed by hand', { skip }, async (t) => {
  const { counts, rows } = await run(t, [
    [
      // out of order; two of one µs, whose order is that of seq
      event('A', 1_500_000, 7, '12.5', '1'),
      event('A', 0, 2, '10.25', '10000000000000000'),
      event('A', 0, 1, '11', '1'),
      // the same again, and another content under its id: the first stays
      event('A', 0, 1, '11', '1'),
      event('A', 0, 1, '99', '5'),
      // the end of the window belongs to the next one
      event('A', 2 * SECOND, 0, '0.1', ''),
    ],
  ]);
  t.same(counts, { events: 6, distinct: 4, late: 0, bars: 10 });
  // 1 + 10^16 + 1 is 10^16 + 2, which adding from the left misses; 11 + 102500000000000000 + 12.5 is rounded once
  const pv = Number('102500000000000023.5');
  const first = [
    '11.0',
    '12.5',
    '10.25',
    '12.5',
    '1.0000000000000002e+16',
    String(pv / 1.0000000000000002e16),
  ];
  const second = [
    '0.1',
    '0.1',
    '0.1',
    '0.1',
    '0.0',
    '',
    '1',
    at('24T00:00:00.000000'),
    at('24T00:00:00.000000'),
  ];
  const times = ['3', at('23T23:59:58.000000'), at('23T23:59:59.500000')];
  t.same(
    rows.map(([, , ...values]) => values),
    [
      ['2s', at('23T23:59:58.000000'), ...first, ...times, 't'],
      ['2s', at('24T00:00:00.000000'), ...second, 't'],
      ['1m', at('23T23:59:00.000000'), ...first, ...times, 't'],
      ['1m', at('24T00:00:00.000000'), ...second, 'f'],
      ['5m', at('23T23:55:00.000000'), ...first, ...times, 't'],
      ['5m', at('24T00:00:00.000000'), ...second, 'f'],
      ['1h', at('23T23:00:00.000000'), ...first, ...times, 't'],
      ['1h', at('24T00:00:00.000000'), ...second, 'f'],
      ['1d', at('23T00:00:00.000000'), ...first, ...times, 't'],
      ['1d', at('24T00:00:00.000000'), ...second, 'f'],
    ],
  );
});

void test('a coarser bar adds up the ticks, not the rounded finer bars', { skip }, async (t) => {
  // 2^53 + 1 is rounded to 2^53; of three such windows 3 is missing, and 3 · 2^53 + 3 is rounded to + 4
  const windows = [-6, -4, -2].flatMap((after) => [
    event('A', after * SECOND, 0, '1', '9007199254740992'),
    event('A', after * SECOND + 1, 0, '1', '1'),
  ]);
  const { rows } = await run(t, [windows]);
  t.same(
    rows.slice(0, 4).map((row) => [row[2], Number(row[8])]),
    [
      ['2s', 2 ** 53],
      ['2s', 2 ** 53],
      ['2s', 2 ** 53],
      ['1m', 3 * 2 ** 53 + 4],
    ],
  );
});

void test('who is late is decided in the order published, by the symbol alone', { skip }, async (t) => {
  const { counts, rows, late } = await run(
    t,
    [
      [
        event('A', 100, 0, '1', '1'), // 0
        event('A', 2_499_999, 0, '2', '1'), // 1: 1 µs before the first window closes
        event('A', 200, 0, '3', '1'), // 2: in time
        event('A', 2_500_000, 0, '4', '1'), // 3: closes it
        event('A', 300, 0, '5', '1'), // 4: late
        event('A', 100, 0, '1', '1'), // 5: late, though counted before
        event('B', 100, 0, '6', '1'), // 6: another symbol has a watermark of its own
        event('A', 2 * SECOND, 0, '7', '1'), // 7: in time
      ],
      // everything fell idle between the two
      [
        event('A', 3 * SECOND, 0, '8', '1'), // 8: late
        event('B', 1, 0, '9', '1'), // 9: late
        event('A', 4 * SECOND, 0, '10', '1'), // 10
      ],
    ],
    { turnedAway: { allowLateMs: 500, out: '' } },
  );
  t.same(late, ['4', '5', '8', '9']);
  t.same(counts, { events: 11, distinct: 7, late: 4, bars: rows.length });
  t.same(
    rows.filter((row) => row[2] === '2s').map((row) => [row[1], row[4], row[7], row[10]]),
    [
      ['A', '1.0', '3.0', '2'],
      ['A', '7.0', '4.0', '3'],
      ['A', '10.0', '10.0', '1'],
      ['B', '6.0', '6.0', '1'],
    ],
  );
});
