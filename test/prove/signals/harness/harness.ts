import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Program } from '../../../support/run/program.ts';
import { runCommand } from '../../../support/run/command.ts';
import { until } from '../../../support/until.ts';
import { groupsBehind } from '../../bus/bars.ts';
import { BusHarness, type BusName } from '../../bus/harness.ts';
import type { ScenarioContext } from '../../harness.ts';
import type { SignalRole } from './roles.ts';
import { ALLOW_LATE_MS, IDLE_MS, WINDOW_MS } from './expected.ts';

/** Level and edge, on features with short and with endless memory. */
const RULES = `
- { name: every_window, condition: "price > 0.0", signal: 1.0, score: 0.5 }
- { name: above_vwap, condition: "vwap_deviation_bps > 0.0", signal: 1.0, mode: edge }
- { name: busy, condition: "tick_rate_z > 1.0 && order_imbalance > 0.0", signal: 0.5 }
- { name: overbought, condition: "rsi > 60.0", signal: -1.0, score: 0.7, mode: edge }
- { name: rises, condition: "momentum > 0.0001", signal: 1.0 }
`;
/** of these, what has to be known of the window before */
export const EDGE_RULES: readonly string[] = ['above_vwap', 'overbought'];
const STANDSTILL_MS = 60_000;
/** a tenth of it holds all signals of a run, each several times */
const MAX_BYTES = '16GiB';

/** A member of the group of one of the two stages. */
export interface Member {
  role: SignalRole;
  name: string;
  program: Program;
  /** it has said so: before, SIGTERM ends it as it ends any process */
  hasStarted(): boolean;
}

export interface SignalsOptions {
  partitions?: number;
  /** URL of the database for the programs, where it is not the server's own */
  through?: (databaseUrl: string) => string;
}

/** A bus, a database, and `mdp stream signals|infer|ticks` on them. */
export class SignalsHarness {
  readonly bus: BusHarness;
  readonly rulesFile: string;
  readonly #databaseUrl: string;

  private constructor(bus: BusHarness, rulesFile: string, databaseUrl: string) {
    this.bus = bus;
    this.rulesFile = rulesFile;
    this.#databaseUrl = databaseUrl;
  }

  /** @throws Skipped when the bus cannot be had on this machine */
  static async with<T>(
    name: BusName,
    context: ScenarioContext,
    { partitions = 1, through = (url) => url }: SignalsOptions,
    work: (harness: SignalsHarness) => Promise<T>,
  ): Promise<T> {
    const folder = await mkdtemp(join(tmpdir(), 'tick-rules-'));
    const rulesFile = join(folder, 'rules.yaml');
    await writeFile(rulesFile, RULES);
    const sections = `micro_batch:
  window_ms: ${WINDOW_MS}
  allow_late_ms: ${ALLOW_LATE_MS}
  idle_timeout: ${IDLE_MS}ms
features: {}
signal_consumer:
  flush_interval: 200ms
inference:
  adapters:
    rules:
      enabled: true
      file: ${rulesFile}
`;
    try {
      const run = (bus: BusHarness): Promise<T> =>
        work(new SignalsHarness(bus, rulesFile, through(bus.databaseUrl)));
      return await BusHarness.with(name, context, run, { partitions, maxBytes: MAX_BYTES, sections });
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  get client(): BusHarness['client'] {
    return this.bus.client;
  }

  /** `mdp stream signals`, or `infer`, as a process. */
  member(role: SignalRole, name: string): Member {
    let hasStarted = false;
    const program = this.bus.program([role, '--consumer', name, '--metrics-port', '0'], ({ msg }) => {
      if (msg === 'SignalConsumer started' || msg === 'InferenceConsumer started') hasStarted = true;
    });
    return { role, name, program, hasStarted: () => hasStarted };
  }

  ticks(name = 'ticks'): Program {
    return this.bus.consumer(name, 1_000);
  }

  /** So many signals are in the table, of those for which the SQL over `s` holds, and nobody has anything left to read. */
  async untilSignals(count: number, where: string, programs: readonly Program[]): Promise<void> {
    let state = '';
    await until(
      `${count} signals`,
      async () => {
        for (const { end, tail } of programs) assert.equal(end, null, tail);
        const behind = await groupsBehind(this.bus.bus);
        const stored = await this.countOf(where);
        state = JSON.stringify({ stored, behind });
        return stored >= count && Object.values(behind).every(({ length }) => length === 0);
      },
      {
        deadlineMs: STANDSTILL_MS,
        pollMs: 100,
        progress: () => state,
        context: () => [state, ...programs.map(({ tail }) => tail)].join('\n'),
      },
    );
  }

  async countOf(where: string): Promise<number> {
    const { rows } = await this.client.query<{ n: number }>(
      `SELECT count(*)::int AS n FROM signals s WHERE ${where}`,
    );
    return rows[0].n;
  }

  /** SIGTERM; each must end by itself, with what is in hand written. */
  async stop(...programs: readonly Program[]): Promise<void> {
    for (const program of programs) assert.equal(await program.stop(), 0, program.tail);
  }

  /** `mdp export features`, which must say that nothing differs. Returns how many rows it compared with the live ones. */
  async exported(provider: string, symbols: readonly string[]): Promise<{ rows: number; seen: number }> {
    const args = ['export', 'features', '--provider', provider, '--symbols', symbols.join(',')];
    const range = ['--start', '2000-01-01', '--end', '2100-01-01', '--json'];
    const output = ['--output', this.bus.file('features.csv'), '--config', this.bus.configFile];
    const { code, stdout, stderr } = await runCommand('mdp', [...args, ...range, ...output], {
      DATABASE_URL: this.#databaseUrl,
    });
    assert.equal(code, 0, `${stdout}${stderr}`);
    const { symbols: found } = JSON.parse(stdout) as {
      symbols: { rows: number; seen_rows: number; equal_hours: number; differing_hours: string[] }[];
    };
    assert.ok(
      found.every(({ equal_hours: hours }) => hours > 0),
      stdout,
    );
    return {
      rows: found.reduce((sum, { rows }) => sum + rows, 0),
      seen: found.reduce((sum, { seen_rows: seen }) => sum + seen, 0),
    };
  }
}
