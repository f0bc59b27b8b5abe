import { test } from 'tap';
import { BarsStore } from '../../../../src/store/bars/bars-store.ts';
import { loadBarsState, type BarsState } from '../../../../src/store/bars/state.ts';
import { commitStep } from '../../../../src/store/bars/commit-step.ts';
import { forgetGroup, type GroupName } from '../../../../src/store/bus/partitions.ts';
import { connect, parseDatabaseUrl } from '../../../../src/store/postgres/connect.ts';
import { migrate } from '../../../../src/store/schema/migrate.ts';
import {
  frameOf,
  hold,
  lateWindow,
  MINUTE_US,
  policyOf,
  ROLLUPS,
  rowsOf,
  stepOf,
  storeBars,
  tick,
  traces,
} from '../../../support/bars/stored.ts';
import { testServers } from '../../../support/servers/postgres.ts';

const SECOND_US = 1_000_000;
const startOf = (lengthMs: number, us = MINUTE_US): number => us - (us % (lengthMs * 1_000));

type Known = BarsState['symbols'][0];

function mark(symbol: string, maxUs: number, closedEndUs: number, runId = 0n): Known {
  return { runId, provider: 'p', symbol, maxUs, closedEndUs, rollups: [] };
}

function order(a: Known, b: Known): number {
  return a.symbol < b.symbol ? -1 : a.symbol > b.symbol ? 1 : Number(a.runId - b.runId);
}

for (const server of testServers()) {
  void test(`state of the micro-batcher on ${server.name}`, { skip: server.skip }, async (t) => {
    const opened = await server.open();
    t.teardown(() => opened.close());
    const url = await opened.createDatabase({ schema: false });
    const client = await connect(parseDatabaseUrl(url), { applicationName: 'test' });
    await migrate(client);
    t.teardown(() => client.end());
    const load = (
      name: GroupName,
      position: string | null,
      log = 'log',
      windowMs = 2_000,
    ): Promise<BarsState> => loadBarsState(client, { name, held: { partition: 0 } }, position, log, windowMs);

    await t.test('a partition that nobody worked on begins at its beginning', async (t) => {
      t.strictSame(await load({ topic: 'new', group: 'g' }, null), {
        step: 0n,
        resume: { position: null, openAfter: null, openCount: 0 },
        symbols: [],
        late: [],
      });
    });

    await t.test('the next owner goes on from the last step, with the rollups that are open', async (t) => {
      const name = { topic: 'next', group: 'g' };
      // closed up to 14:07:30: the minute 14:07 is open, and so are five minutes, hour and day
      const ticks = [
        tick('NEXT', 0, 10),
        tick('NEXT', 290, 11),
        tick('NEXT', 301, 12, 0.1),
        tick('NEXT', 320, 9, 0.2),
      ];
      await storeBars(client, ticks, { isFinal: false });
      // closed to the end of its minute: of that nothing is open
      const [even] = [tick('EVEN', 59, 1)];
      await storeBars(client, [even], { isFinal: false });
      const step = stepOf(40, {
        openAfter: '33',
        openCount: 7,
        watermarks: [
          mark('NEXT', MINUTE_US + 331 * SECOND_US + 1, MINUTE_US + 330 * SECOND_US),
          mark('EVEN', MINUTE_US + 61 * SECOND_US, MINUTE_US + 60 * SECOND_US),
          mark('NEXT', MINUTE_US + 7, MINUTE_US, 5n),
        ],
        late: [lateWindow('NEXT', 4), { ...lateWindow('NEXT', 2), position: '39' }],
      });
      await commitStep(client, frameOf(name, await hold(client, name), 1), step, policyOf());
      const state = await load(name, '40');
      t.equal(state.step, 1n);
      t.strictSame(state.resume, { position: '40', openAfter: '33', openCount: 7 });
      const symbols = state.symbols.toSorted(order);
      const inside = (lengthMs: number, of: typeof ticks, atUs: number): typeof ticks =>
        of.filter(({ srcUs }) => startOf(lengthMs, srcUs) === startOf(lengthMs, atUs));
      const open = (of: typeof ticks, atUs: number, lengths: number[]): unknown =>
        lengths.map((length) => rowsOf(inside(length, of, atUs), length, { isFinal: false })[0]);
      t.strictSame(
        symbols.map(({ rollups, ...watermark }) => ({
          ...watermark,
          rollups: rollups.toSorted((a, b) => a.intervalMs - b.intervalMs),
        })),
        [
          {
            ...mark('EVEN', MINUTE_US + 61 * SECOND_US, MINUTE_US + 60 * SECOND_US),
            rollups: open([even], MINUTE_US, [300_000, 3_600_000, 86_400_000]),
          },
          {
            ...mark('NEXT', MINUTE_US + 331 * SECOND_US + 1, MINUTE_US + 330 * SECOND_US),
            rollups: open(ticks, MINUTE_US + 329 * SECOND_US, Object.values(ROLLUPS)),
          },
          mark('NEXT', MINUTE_US + 7, MINUTE_US, 5n),
        ],
      );
      const late = state.late.toSorted((a, b) => a.startUs - b.startUs);
      t.strictSame(late, [{ ...lateWindow('NEXT', 2), position: '39' }, lateWindow('NEXT', 4)]);

      // a replay that was silent for more than a day
      await client.query(
        "UPDATE bars_watermarks SET updated_at = now() - interval '25 hours' WHERE topic = 'next' AND symbol = 'NEXT'",
      );
      const later = await load(name, '40');
      t.strictSame(later.symbols.map(({ symbol, runId }) => `${symbol} ${runId}`).sort(), [
        'EVEN 0',
        'NEXT 0',
      ]);
    });

    await t.test('positions of another log mean nothing; watermarks and marks stay', async (t) => {
      const name = { topic: 'other', group: 'g' };
      const watermarks = [
        { runId: 0n, provider: 'p', symbol: 'OTHER', maxUs: MINUTE_US + 1, closedEndUs: MINUTE_US },
      ];
      const step = stepOf(40, { openAfter: '33', openCount: 7, watermarks, late: [lateWindow('OTHER', -2)] });
      const held = await hold(client, name);
      await commitStep(client, frameOf(name, held, 1, 'old'), step, policyOf());
      t.strictSame((await load(name, '40', 'old')).late, [lateWindow('OTHER', -2)]);
      const state = await load(name, '40', 'new');
      t.strictSame(state.resume, { position: null, openAfter: null, openCount: 7 }, 'what was open is lost');
      t.equal(state.step, 1n);
      t.strictSame(state.late, [{ ...lateWindow('OTHER', -2), position: null }], 'nothing is waited for');
      t.strictSame(
        state.symbols.map(({ symbol, maxUs, closedEndUs }) => ({ symbol, maxUs, closedEndUs })),
        [{ symbol: 'OTHER', maxUs: MINUTE_US + 1, closedEndUs: MINUTE_US }],
      );
      await commitStep(client, frameOf(name, held, 2, 'new'), stepOf(3), policyOf());
      t.strictSame((await load(name, '3', 'new')).resume, { position: '3', openAfter: '3', openCount: 0 });
    });

    await t.test('a group that is forgotten leaves no state behind, and no bar changes', async (t) => {
      const stateOf = async (): Promise<unknown[]> => {
        const found: unknown[] = [];
        for (const table of ['bars_partitions', 'bars_watermarks', 'bars_late_windows', 'bus_positions']) {
          const { rows } = await client.query<{ at: string }>(
            `SELECT topic || ' ' || group_name AS at FROM ${table} WHERE topic IN ('forget', 'forget 2') ORDER BY 1`,
          );
          found.push(rows.map(({ at }) => at));
        }
        return found;
      };
      const names = [
        { topic: 'forget', group: 'g' },
        { topic: 'forget', group: 'h' },
        { topic: 'forget 2', group: 'g' },
      ];
      for (const name of names) {
        const symbol = `${name.topic} ${name.group}`.toUpperCase().replaceAll(' ', '-');
        const step = stepOf(4, {
          windows: rowsOf([tick(symbol, 0, 1)], 2_000),
          watermarks: [{ runId: 0n, provider: 'p', symbol, maxUs: MINUTE_US, closedEndUs: MINUTE_US }],
          late: [lateWindow(symbol, 0)],
        });
        await commitStep(client, frameOf(name, await hold(client, name), 1), step, policyOf());
      }
      const all = ['forget 2 g', 'forget g', 'forget h'];
      t.strictSame(await stateOf(), [all, all, all, all]);
      const before = await traces(client);
      await forgetGroup(client, names[0]);
      const rest = ['forget 2 g', 'forget h'];
      t.strictSame(await stateOf(), [rest, rest, rest, rest]);
      t.strictSame(await traces(client), before);
      const store = new BarsStore((work) => work(client));
      const { step, resume } = await store.load(
        { name: names[0], held: { partition: 0 } },
        null,
        'log',
        2_000,
      );
      t.strictSame([step, resume.openAfter], [0n, null]);
    });
  });
}
