import fc from 'fast-check';
import { test } from 'tap';
import type { ReplayPosition } from '../../../../src/core/replay/position.ts';
import { REPLAY_SOURCES, type ReplaySource } from '../../../../src/core/replay/request.ts';
import { fromOf, MergedPages } from '../../../../src/serve/replay/merged-pages.ts';
import { SourcePages } from '../../../../src/serve/replay/source-pages.ts';
import type { PageFrom } from '../../../../src/store/replay/ticks.ts';
import { tickRows, type TickRow } from '../../../support/replay/rows.ts';

const SERIES = [
  { provider: 'a', symbol: 'S' },
  { provider: 'b', symbol: 'S' },
];

interface Stored {
  source: ReplaySource;
  rows: TickRow[];
}

/** Rows of a source that come behind where a page begins, as the store gives them. */
function pageOf(rows: readonly TickRow[], { after, fromUs, rowsMax }: PageFrom): ReturnType<typeof tickRows> {
  const behind = rows.filter(({ ts, series, seq }) => {
    if (after === null) return ts >= fromUs;
    const { provider } = SERIES[series];
    if (ts !== after.tsUs) return ts > after.tsUs;
    return provider === after.provider ? seq > after.seq : provider > after.provider;
  });
  return tickRows(behind.slice(0, rowsMax));
}

async function emitted(
  stored: readonly Stored[],
  {
    position,
    pageRows,
    sliceRows,
    stopAfter,
  }: Record<'pageRows' | 'sliceRows' | 'stopAfter', number> & {
    position: ReplayPosition | null;
  },
): Promise<{ names: string[]; position: ReplayPosition | null }> {
  const merged = new MergedPages(
    stored.map(
      ({ source, rows }) =>
        new SourcePages({
          source,
          series: SERIES,
          from: fromOf(source, position, 0n, pageRows),
          read: (from) => {
            const page = pageOf(rows, from);
            const all = pageOf(rows, { ...from, rowsMax: Infinity });
            return Promise.resolve({ rows: page, hasMore: all.rows > page.rows });
          },
        }),
    ),
  );
  const names: string[] = [];
  let last = position;
  while (names.length < stopAfter) {
    const next = await merged.nextUs();
    if (next === null) break;
    const { pages, rows, from, to } = merged.take(Infinity, sliceRows);
    for (let row = from; row < to; row += 1) {
      const { tsUs, source, provider, seq } = pages.positionOf(rows, row);
      names.push(`${tsUs} ${REPLAY_SOURCES.indexOf(source)} ${provider} ${seq}`);
    }
    last = pages.positionOf(rows, to - 1);
  }
  return { names, position: last };
}

const key = fc.record({
  ts: fc.integer({ min: 0, max: 6 }),
  series: fc.constantFrom(0, 1),
  seq: fc.integer({ min: 0, max: 3 }),
});
const rowsOfSource = fc
  .uniqueArray(key, { selector: ({ ts, series, seq }) => `${ts} ${series} ${seq}`, maxLength: 25 })
  .map((keys) =>
    keys
      .toSorted((a, b) => a.ts - b.ts || a.series - b.series || a.seq - b.seq)
      .map(({ ts, series, seq }): TickRow => ({
        ts: BigInt(ts),
        series,
        seq: BigInt(seq),
        price: 1,
        size: null,
        bid: null,
        ask: null,
        side: null,
      })),
  );

void test('every row once, by time, source, series and seq, wherever it is cut and taken up again', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.tuple(rowsOfSource, rowsOfSource, rowsOfSource),
      fc.integer({ min: 1, max: 7 }),
      fc.integer({ min: 1, max: 7 }),
      fc.array(fc.integer({ min: 1, max: 20 }), { maxLength: 5 }),
      async (all, pageRows, sliceRows, cuts) => {
        const stored = REPLAY_SOURCES.map((source, at) => ({ source, rows: all[at] }));
        const expected = stored
          .flatMap(({ rows }, at) =>
            rows.map(({ ts, series, seq }) => `${ts} ${at} ${SERIES[series].provider} ${seq}`),
          )
          .toSorted((a, b) => (a < b ? -1 : 1));
        const names: string[] = [];
        let position: ReplayPosition | null = null;
        for (const stopAfter of [...cuts, Infinity]) {
          const part: Awaited<ReturnType<typeof emitted>> = await emitted(stored, {
            position,
            pageRows,
            sliceRows,
            stopAfter,
          });
          names.push(...part.names);
          position = part.position;
        }
        return JSON.stringify(names) === JSON.stringify(expected);
      },
    ),
  );
});
