import assert from 'node:assert/strict';
import { BusHarness, type BusName } from '../bus/harness.ts';
import type { Figures, ScenarioContext } from '../harness.ts';
import { runCommand } from '../../support/run/command.ts';

const RANGE = '--from 2025-11-03 --to 2025-11-04'.split(' ');
const SPY = [...'--provider made --symbols SPY'.split(' '), ...RANGE];

/** The command, its exit code, and what its one line must say. */
const MISTAKES: readonly [string[], number, RegExp][] = [
  [['replay', 'start', ...'--provider made --symbols NOSUCH'.split(' '), ...RANGE], 1, /NOSUCH/],
  [
    ['replay', 'start', ...'--provider made --symbols SPY --from 2025-11-04 --to 2025-11-03'.split(' ')],
    2,
    /start must be before end/,
  ],
  [['replay', 'start', ...SPY, '--speed', '-1'], 2, /speed must be a number from 0/],
  [['replay', 'start', ...SPY, '--speed', 'fast'], 2, /Expected a number/],
  [['replay', 'start', ...SPY, '--source', 'bars'], 2, /interval is missing/],
  [['replay', 'start', ...SPY, '--topic', 'mdp.signals'], 2, /not for market events/],
  [['replay', 'start', '--dataset', 'nosuch', ...RANGE], 1, /known are .*spy_1day_history/],
  [['replay', 'show', '999'], 1, /no replay 999/],
  [['replay', 'seek', '999', '2025-11-03'], 1, /no replay 999/],
  [['replay', 'schedule', 'add', 'x', '--cron', 'whenever', ...SPY], 2, /cron must be a cron expression/],
  [
    ['replay', 'schedule', 'add', 'x', '--cron', '0 0 * * *', '--timezone', 'Mars', ...SPY],
    2,
    /timezone must be a zone/,
  ],
  [['replay', 'schedule', 'remove', 'nosuch'], 1, /no schedule nosuch/],
  [['stream', 'replay', '--dataset', 'nosuch', ...RANGE], 1, /no dataset nosuch/],
  [['stream', 'replay', '--from', '2025-11-03'], 2, /belong to --dataset/],
];

/** Must show 5: each mistake ends with its exit code and one line that says what is wrong. */
export function namesMistakes(context: ScenarioContext, bus: BusName): Promise<Figures> {
  return BusHarness.with(bus, context, async (harness) => {
    await harness.client.query(
      `INSERT INTO tick_data (provider, symbol, price, ts) VALUES ('made', 'SPY', 1, '2025-11-03 14:00:00+00')`,
    );
    for (const [args, code, says] of MISTAKES) {
      const ended = await runCommand('mdp', [...args, '--config', harness.configFile], {
        DATABASE_URL: harness.databaseUrl,
      });
      const shown = `mdp ${args.join(' ')}: ${ended.stderr}`;
      assert.equal(ended.code, code, shown);
      assert.match(ended.stderr, says, shown);
      assert.equal(ended.stderr.trim().split('\n').length, 1, shown);
    }
    return { mistakes: MISTAKES.length };
  });
}
