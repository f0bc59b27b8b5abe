import { test } from 'tap';
import type { Client } from 'pg';
import type { Bar, BarRow } from '../../../../src/core/market/bar.ts';
import { insertBars, readBars, replaceBars, writeRollups } from '../../../../src/store/bars/rows.ts';
import type { BarTable } from '../../../../src/store/bars/sql.ts';
import { connect, parseDatabaseUrl } from '../../../../src/store/postgres/connect.ts';
import { migrate } from '../../../../src/store/schema/migrate.ts';
import { barsIn, MINUTE_US, rowsOf, tick, traces } from '../../../support/bars/stored.ts';
import { oracleBars } from '../../../support/bars/oracle.ts';
import { testServers } from '../../../support/servers/postgres.ts';
import { seededRandom } from '../../../support/random.ts';

const MAX = Number.MAX_VALUE;

function rowWith(symbol: string, bar: Partial<Bar>, row: Partial<BarRow> = {}): BarRow {
  return {
    runId: 0n,
    provider: 'p',
    symbol,
    intervalMs: 2_000,
    startUs: MINUTE_US,
    isFinal: true,
    lastSeq: 0n,
    ...row,
    bar: {
      open: 1,
      high: 1,
      low: 1,
      close: 1,
      volume: 0,
      vwap: null,
      tickCount: 1,
      firstUs: MINUTE_US,
      lastUs: MINUTE_US,
      volumeParts: [],
      pvParts: [],
      ...bar,
    },
  };
}

async function read(client: Client, table: BarTable, row: BarRow): Promise<BarRow | undefined> {
  const [found] = await readBars(client, table, [{ ...row, endUs: row.startUs + 1 }]);
  return found[0];
}

/** Finite, of any size and sign. */
function anyDouble(random: { whole: (least: number, most: number) => number }): number {
  const view = new DataView(new ArrayBuffer(8));
  for (;;) {
    view.setUint32(0, random.whole(0, 2 ** 32 - 1));
    view.setUint32(4, random.whole(0, 2 ** 32 - 1));
    const value = view.getFloat64(0);
    if (Number.isFinite(value)) return value;
  }
}

for (const server of testServers()) {
  void test(`rows of bars on ${server.name}`, { skip: server.skip }, async (t) => {
    const opened = await server.open();
    t.teardown(() => opened.close());
    const url = await opened.createDatabase({ schema: false });
    const client = await connect(parseDatabaseUrl(url), { applicationName: 'test' });
    await migrate(client);

    await t.test('every double comes back as it was, in both tables', async (t) => {
      const random = seededRandom();
      t.comment(`SEED=${random.seed}`);
      const cases: Partial<Bar>[] = [
        { open: 5e-324, high: MAX, low: -MAX, close: -5e-324 },
        { volume: Infinity, volumeParts: [Infinity], vwap: null, pvParts: [1e308] },
        { volume: 1e308, volumeParts: [1e308], vwap: MAX, pvParts: [MAX, 1e291] },
        { volume: 0.30000000000000004, volumeParts: [0.30000000000000004, -2.7e-17], vwap: 1 / 3 },
        { volume: 5e-324, volumeParts: [5e-324], pvParts: null },
        { volume: 2.2250738585072014e-308, volumeParts: [2.2250738585072014e-308, 5e-324], vwap: -5e-324 },
        { volume: 0, volumeParts: [], vwap: null, pvParts: [] },
        { tickCount: 2 ** 53 - 1, firstUs: 946_684_800_000_001, lastUs: 4_102_444_799_999_999 },
        ...Array.from({ length: 200 }, () => {
          const [low, open, close, high] = Array.from({ length: 4 }, () => anyDouble(random)).sort(
            (a, b) => a - b,
          );
          const volume = Math.abs(anyDouble(random));
          return {
            low,
            open,
            close,
            high,
            volume,
            volumeParts: [volume, anyDouble(random)],
            vwap: anyDouble(random),
          };
        }),
      ];
      for (const table of ['bars_ohlcv', 'bars_replay'] as const) {
        const runId = table === 'bars_replay' ? 7n : 0n;
        const lastSeq = table === 'bars_replay' ? 2n ** 63n - 1n : 0n;
        const rows = cases.map((bar, at) => rowWith(`D${at}`, bar, { runId, lastSeq }));
        t.strictSame(await insertBars(client, table, rows), { inserted: rows.length, differing: [] });
        const ranges = rows.map((row) => ({ ...row, endUs: row.startUs + 1 }));
        t.strictSame((await readBars(client, table, ranges)).flat(), rows);
        t.strictSame(
          await insertBars(client, table, rows),
          { inserted: 0, differing: [] },
          'nothing differs',
        );
      }
    });

    await t.test('zero has no sign: which of two equal prices came first does not show', async (t) => {
      const row = rowWith('ZERO', {
        open: -0,
        high: 0,
        low: -0,
        close: 0,
        vwap: -0,
        volume: 1,
        volumeParts: [1],
      });
      await insertBars(client, 'bars_ohlcv', [row]);
      const { bar } = (await read(client, 'bars_ohlcv', row))!;
      for (const value of [bar.open, bar.high, bar.low, bar.close, bar.vwap]) t.ok(Object.is(value, 0));
      t.strictSame(await replaceBars(client, 'bars_ohlcv', [row], 'differs'), []);
    });

    await t.test('what no bar can be is refused', async (t) => {
      for (const bar of [{ high: NaN }, { low: 2 }, { close: 2 }, { volume: -1 }, { open: null as never }]) {
        await t.rejects(insertBars(client, 'bars_ohlcv', [rowWith('BAD', bar)]), /bars_ohlcv|null value/);
      }
      t.strictSame(await barsIn(client, { symbol: 'BAD' }), []);
    });

    await t.test('intervals have their names, and each length its own rows', async (t) => {
      const lengths = [500, 1_500, 2_000, 60_000, 300_000, 3_600_000, 86_400_000];
      const rows = lengths.map((intervalMs) => rowWith('NAMES', { close: 1 }, { intervalMs }));
      await insertBars(client, 'bars_ohlcv', rows);
      const { rows: names } = await client.query<{ interval: string }>(
        'SELECT "interval" FROM bars_ohlcv WHERE symbol = $1 ORDER BY "interval"',
        ['NAMES'],
      );
      t.strictSame(
        names.map(({ interval }) => interval),
        ['1500ms', '1d', '1h', '1m', '2s', '500ms', '5m'],
      );
      for (const row of rows) t.equal((await read(client, 'bars_ohlcv', row))?.intervalMs, row.intervalMs);
    });

    await t.test('ranges are read each by itself, in order, half-open', async (t) => {
      const rows = rowsOf(
        [0, 2, 4, 6].map((at) => tick('RANGE', at, 10 + at)),
        2_000,
      );
      await insertBars(client, 'bars_ohlcv', rows.toReversed());
      const range = { ...rows[0], endUs: rows[2].startUs };
      const absent = { ...range, symbol: 'NOBODY' };
      const later = { ...range, startUs: rows[1].startUs, endUs: rows[3].startUs + 1 };
      const other = { ...range, intervalMs: 60_000 };
      t.strictSame(await readBars(client, 'bars_ohlcv', [later, absent, range, other, range]), [
        rows.slice(1),
        [],
        rows.slice(0, 2),
        [],
        rows.slice(0, 2),
      ]);
      t.strictSame(await readBars(client, 'bars_ohlcv', []), []);
      const replayed = rowWith('RANGE', {}, { runId: 3n });
      await insertBars(client, 'bars_replay', [replayed, { ...replayed, runId: 4n }]);
      const [three, four, five] = await readBars(
        client,
        'bars_replay',
        [3n, 4n, 5n].map((runId) => ({ ...range, runId })),
      );
      t.strictSame([three.map(({ runId }) => runId), four.map(({ runId }) => runId), five], [[3n], [4n], []]);
    });

    await t.test('the same bars again change no row, by whatever way', async (t) => {
      const ticks = [tick('SAME', 0.5, 10.1, 3), tick('SAME', 1, 9.9, null), tick('SAME', 3, 11, 0.1)];
      const windows = rowsOf(ticks, 2_000);
      const rollup = rowsOf(ticks, 60_000, { isFinal: false });
      await insertBars(client, 'bars_ohlcv', windows);
      t.equal((await writeRollups(client, 'bars_ohlcv', rollup)).written, 1);
      t.strictSame(await barsIn(client, { symbol: 'SAME', interval: '2s' }), oracleBars(ticks, 2_000));
      t.strictSame(await barsIn(client, { symbol: 'SAME', interval: '1m' }), oracleBars(ticks, 60_000));
      const before = await traces(client, 'SAME');
      t.equal(before.length, 3);
      t.strictSame(await insertBars(client, 'bars_ohlcv', windows), { inserted: 0, differing: [] });
      t.strictSame(await writeRollups(client, 'bars_ohlcv', rollup), { written: 0, differing: [] });
      for (const rule of ['differs', 'not_poorer', 'richer'] as const) {
        t.strictSame(await replaceBars(client, 'bars_ohlcv', [...windows, ...rollup], rule), []);
      }
      t.strictSame(await traces(client, 'SAME'), before);
    });

    await t.test('rows that are there stay, and those that differ are named', async (t) => {
      const [stored] = rowsOf([tick('STAY', 0, 5, 2), tick('STAY', 1, 6, 2)], 2_000);
      await insertBars(client, 'bars_ohlcv', [stored]);
      const before = await traces(client, 'STAY');
      const [other] = rowsOf([tick('STAY', 0, 5, 2)], 2_000);
      const [next] = rowsOf([tick('STAY', 2, 7, 2)], 2_000);
      t.strictSame(await insertBars(client, 'bars_ohlcv', [next, other]), {
        inserted: 1,
        differing: [other],
      });
      t.strictSame((await traces(client, 'STAY'))[0], before[0]);
    });

    await t.test(
      'open rollups are rewritten in place, never a final one and never by a poorer one',
      async (t) => {
        const ticks = [tick('ROLL', 0, 5), tick('ROLL', 3, 6), tick('ROLL', 30, 4)];
        const upTo = (count: number, isFinal: boolean): BarRow[] =>
          rowsOf(ticks.slice(0, count), 60_000, { isFinal });
        const write = async (count: number, isFinal: boolean): Promise<[number, number]> => {
          const { written, differing } = await writeRollups(client, 'bars_ohlcv', upTo(count, isFinal));
          return [written, differing.length];
        };
        const state = async (): Promise<unknown> => {
          const [{ revision, is_final: isFinal }] = await traces(client, 'ROLL');
          return [(await barsIn(client, { symbol: 'ROLL' }))[0].ticks, isFinal, revision];
        };
        t.strictSame(await write(2, false), [1, 0]);
        t.strictSame(await write(1, false), [0, 0], 'a poorer one');
        t.strictSame(await state(), [2, false, 0]);
        t.strictSame(await write(1, true), [0, 1], 'poorer and final: it is named');
        t.strictSame(await state(), [2, false, 0]);
        t.strictSame(await write(2, true), [1, 0], 'final now, with the same values');
        t.strictSame(await state(), [2, true, 0]);
        t.strictSame(await write(3, false), [0, 0], 'an open one never overwrites it');
        t.strictSame(await write(3, true), [0, 1]);
        t.strictSame(await state(), [2, true, 0]);
        t.strictSame(await barsIn(client, { table: 'bars_history', symbol: 'ROLL' }), []);
      },
    );

    await t.test('each version that was replaced is kept, of final rows', async (t) => {
      const ticks = [tick('KEPT', 0, 5, 1), tick('KEPT', 1, 7, 2), tick('KEPT', 1.5, 3, 0.1)];
      const version = (count: number): BarRow => rowsOf(ticks.slice(0, count), 2_000)[0];
      const replace = async (count: number, rule: 'differs' | 'not_poorer' | 'richer'): Promise<number[]> =>
        (await replaceBars(client, 'bars_ohlcv', [version(count)], rule)).map(({ revision }) => revision);
      t.strictSame(await replace(1, 'richer'), [0], 'one that was not there is added');
      const [first] = await traces(client, 'KEPT');
      t.strictSame(await replace(2, 'not_poorer'), [1]);
      t.strictSame(await replace(1, 'not_poorer'), []);
      t.strictSame(await replace(1, 'richer'), []);
      t.strictSame(await replace(3, 'richer'), [2]);
      t.strictSame(await replace(2, 'differs'), [3], 'differs asks for nothing else');
      t.strictSame(
        await barsIn(client, { table: 'bars_history', symbol: 'KEPT' }),
        [1, 2, 3].flatMap((count) => oracleBars(ticks.slice(0, count), 2_000)),
      );
      t.strictSame(await barsIn(client, { symbol: 'KEPT' }), oracleBars(ticks.slice(0, 2), 2_000));
      const { rows } = await client.query<Record<string, unknown>>(
        `SELECT h.revision, h.is_final, h.created_at = b.created_at AS same_creation, h.updated_at < h.replaced_at AS in_order
           FROM bars_history h JOIN bars_ohlcv b USING (provider, symbol, "interval", ts) WHERE symbol = 'KEPT' ORDER BY 1`,
      );
      t.strictSame(
        rows,
        [0, 1, 2].map((revision) => ({ revision, is_final: true, same_creation: true, in_order: true })),
      );
      const [last] = await traces(client, 'KEPT');
      t.not(last['tx'], first['tx'], '"new since" finds what was corrected');

      // an open row has no versions
      await writeRollups(client, 'bars_ohlcv', rowsOf(ticks.slice(0, 1), 60_000, { isFinal: false }));
      const [open] = await replaceBars(
        client,
        'bars_ohlcv',
        rowsOf(ticks, 60_000, { isFinal: false }),
        'differs',
      );
      t.strictSame([open.revision, open.row.isFinal], [0, false]);
      const [closed] = await replaceBars(client, 'bars_ohlcv', rowsOf(ticks, 60_000), 'not_poorer');
      t.strictSame([closed.revision, closed.row.isFinal], [0, true], 'final now, with the same values');
      const [again] = await replaceBars(
        client,
        'bars_ohlcv',
        rowsOf(ticks.slice(1), 60_000, { isFinal: false }),
        'differs',
      );
      t.strictSame([again.revision, again.row.isFinal], [1, true], 'what is final stays final');
    });
    await client.end();
  });
}
