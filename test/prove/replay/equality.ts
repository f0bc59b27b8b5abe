import assert from 'node:assert/strict';
import type { Client } from 'pg';
import { formatMicros } from '../../../src/core/time.ts';
import { burst, BusHarness, SYMBOLS, type BusName } from '../bus/harness.ts';
import type { Figures, ScenarioContext } from '../harness.ts';
import { until } from '../../support/until.ts';

// longer than the bus of a busy machine stands still: a symbol that is taken for silent has its features settled, in a replay too
const SECTIONS = `micro_batch:
  idle_timeout: 3s
signal_consumer:
  flush_interval: 200ms
replay:
  datasets:
    made:
      providers: [synthetic]
      symbols: [${SYMBOLS.join(', ')}]
`;

const BARS = `provider, symbol, "interval", ts, open, high, low, close, volume, vwap, tick_count, first_ts, last_ts, is_final`;
const SIGNALS = 'provider, symbol, ts, name, value, score';
/** replays are looked at when so much of them is there as of the live ones; still standing means that something is missing */
const STANDSTILL_MS = 60_000;

/**
 * Must show 2: bars_replay and the signals of a run equal the live ones, when both began at the same event; runs at different speeds
 * have one digest. By the programs and commands of operators.
 */
export function makesTheSame(
  context: ScenarioContext,
  bus: BusName,
  { ticks: count }: { ticks: number },
): Promise<Figures> {
  return BusHarness.with(
    bus,
    context,
    async (harness) => {
      const ticks = harness.consumer('ticks-1');
      const roles = ['micro-batch', 'signals'].map((name) =>
        harness.program([name, '--consumer', `${name}-1`, '--metrics-port', '0']),
      );
      const said = (): string => [ticks, ...roles].map(({ tail }) => tail).join('\n');
      const part = burst(0, count);
      await harness.produced(harness.producer(part));
      await harness.untilStored(count, ticks);
      const live = await complete(harness.client, count, 0n, said);
      const digests = new Set<string>();
      for (const speed of [0, 200]) {
        const from = formatMicros(part.startMicros);
        const to = formatMicros(part.startMicros + 86_400_000_000n);
        const args = [
          '--dataset',
          'made',
          '--from',
          from,
          '--to',
          to,
          '--speed',
          `${speed}`,
          '--metrics-port',
          '0',
        ];
        await harness.produced(harness.program(['replay', ...args]));
        const { rows } = await harness.client.query<{ id: string; digest: string; emitted: string }>(
          `SELECT id, metadata->>'digest' AS digest, rows_written AS emitted FROM job_runs WHERE job_name = 'tick_replay' ORDER BY id DESC LIMIT 1`,
        );
        const [{ id, digest, emitted }] = rows;
        assert.equal(emitted, `${count}`);
        digests.add(digest);
        assert.deepEqual(
          await complete(harness.client, count, BigInt(id), said),
          live,
          `run ${id} at speed ${speed}`,
        );
      }
      assert.equal(digests.size, 1, 'one digest');
      assert.equal(await harness.stored(), count, 'tick_data');
      return { ticks: count, bars: live.bars, signals: live.signals, digest: [...digests][0].slice(0, 12) };
    },
    { sections: SECTIONS },
  );
}

interface Made {
  bars: number;
  signals: number;
  barsHash: string;
  signalsHash: string;
}

/** What there is of live ticks (0) or of a run, once every tick is in a bar and has its signal. */
async function complete(client: Client, ticks: number, runId: bigint, said: () => string): Promise<Made> {
  const bars = runId === 0n ? 'bars_ohlcv' : `(SELECT * FROM bars_replay WHERE replay_run_id = ${runId}) b`;
  const signals = `signals WHERE replay_run_id = ${runId}`;
  let seen = '';
  await until(
    `every tick of ${runId} is in a bar, and every time of a symbol has its signal`,
    async () => {
      const { rows } = await client.query<{
        in_bars: string | null;
        open: string;
        looked: string;
        times: string;
      }>(
        `SELECT (SELECT sum(tick_count) FROM ${bars} WHERE "interval" = '2s') AS in_bars,
                (SELECT count(*) FROM ${bars} WHERE NOT is_final AND "interval" = '2s') AS open,
                (SELECT count(*) FROM ${signals} AND name = 'vwap_deviation_bps') AS looked,
                (SELECT count(DISTINCT (symbol, ts)) FROM tick_data) AS times`,
      );
      seen = JSON.stringify(rows[0]);
      return rows[0].in_bars === `${ticks}` && rows[0].open === '0' && rows[0].looked === rows[0].times;
    },
    { deadlineMs: STANDSTILL_MS, pollMs: 500, progress: () => seen, context: () => `${seen}\n${said()}` },
  );
  const { rows } = await client.query<{
    bars: number;
    signals: number;
    bars_hash: string;
    signals_hash: string;
  }>(
    `SELECT b.n AS bars, b.hash AS bars_hash, s.n AS signals, s.hash AS signals_hash
       FROM (SELECT count(*)::int AS n, md5(string_agg(ROW(${BARS})::text, ',' ORDER BY provider, symbol, "interval", ts)) AS hash
               FROM ${bars}) b,
            (SELECT count(*)::int AS n, md5(string_agg(ROW(${SIGNALS})::text, ',' ORDER BY provider, symbol, ts, name)) AS hash
               FROM ${signals}) s`,
  );
  const [{ bars: n, signals: m, bars_hash: barsHash, signals_hash: signalsHash }] = rows;
  return { bars: n, signals: m, barsHash, signalsHash };
}
