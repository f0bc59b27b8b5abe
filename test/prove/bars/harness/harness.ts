import assert from 'node:assert/strict';
import { computeBars, type OracleCounts } from '../../../support/bars/python-oracle.ts';
import { noOracle } from '../../../support/python.ts';
import { freePort } from '../../../support/servers/free-port.ts';
import type { Program } from '../../../support/run/program.ts';
import { Scrape } from '../../../support/run/scrape.ts';
import { compareBars, loadBars } from './compare.ts';
import { MIXED } from './events.ts';
import { EventFile } from './publish.ts';
import { finalBarsEqual, groupsBehind, untilBarsDone, untilState } from '../../bus/bars.ts';
import { BusHarness, type BusName } from '../../bus/harness.ts';
import { Skipped, type ScenarioContext } from '../../harness.ts';

export const WINDOW_MS = 2_000;
/** of one batch while the tick consumer keeps up: a larger one makes the oracle's share of the machine larger */
const TICKS_BATCH = 1_000;

export interface BarsOptions {
  partitions?: number;
  /** most ticks that a tick consumer writes at once */
  batchMax?: number;
  late?: 'revise' | 'drop' | 'dlq';
  /** shorter than the default of 5 s where nothing depends on when a symbol falls idle */
  idleTimeout?: string;
}

/** A member of the group of the micro-batcher. */
export interface Batcher {
  name: string;
  program: Program;
  /** it has said so: before, SIGTERM ends it as it ends any process */
  hasStarted(): boolean;
  metrics(): Promise<Scrape>;
}

/** A bus, a database, and `mdp stream micro-batch` on them; what it makes is compared with an oracle. */
export class BarsHarness {
  readonly bus: BusHarness;

  private constructor(bus: BusHarness) {
    this.bus = bus;
  }

  /** @throws Skipped when the bus or the oracle cannot be had on this machine */
  static with<T>(
    name: BusName,
    context: ScenarioContext,
    { late = 'revise', idleTimeout, ...options }: BarsOptions,
    work: (harness: BarsHarness) => Promise<T>,
  ): Promise<T> {
    const missing = noOracle();
    if (missing !== false) throw new Skipped(missing);
    const sections = `micro_batch:
  window_ms: ${WINDOW_MS}
  allow_late_ms: ${MIXED.allowLateMs}
  late: ${late}
${idleTimeout === undefined ? '' : `  idle_timeout: ${idleTimeout}\n`}`;
    return BusHarness.with(name, context, (bus) => work(new BarsHarness(bus)), { ...options, sections });
  }

  get client(): BusHarness['client'] {
    return this.bus.client;
  }

  /** `mdp stream micro-batch` as a process. */
  async batcher(name: string): Promise<Batcher> {
    const port = await freePort();
    const window = `--window ${WINDOW_MS / 1000}s`;
    const args = `micro-batch ${window} --consumer ${name} --metrics-port ${port}`;
    let hasStarted = false;
    const program = this.bus.program(args.split(' '), ({ msg }) => {
      if (msg === 'MicroBatcher started') hasStarted = true;
    });
    return { name, program, hasStarted: () => hasStarted, metrics: () => Scrape.of(port) };
  }

  /** `mdp stream ticks` as a process: late events are counted from what it stores. */
  ticks(name = 'ticks', batchSize = TICKS_BATCH): Program {
    return this.bus.consumer(name, batchSize);
  }

  /** What is published is written there for the oracle, in that order. */
  events(name: string): EventFile {
    return new EventFile(this.bus.file(`${name}.csv`));
  }

  /** All is done, of so many live series (pairs of provider and symbol) and of replays. */
  untilDone(series: number, members: readonly Program[]): Promise<void> {
    return untilBarsDone(this.bus, members, series);
  }

  /** The group has read all there is, whatever is to be done about it. */
  untilRead(group: string, members: readonly Program[]): Promise<void> {
    return untilState(`group ${group} has read everything`, members, async () => {
      const groups = await groupsBehind(this.bus.bus);
      return { isDone: groups[group]?.length === 0, state: groups };
    });
  }

  /** SIGTERM; each must end by itself, with what is in hand written. */
  async stop(...programs: readonly Program[]): Promise<void> {
    for (const program of programs) assert.equal(await program.stop(), 0, program.tail);
  }

  /** The oracle's bars of these events in a table of that name. */
  async oracle(table: string, events: readonly EventFile[], turnsAway = false): Promise<OracleCounts> {
    const out = this.bus.file(`${table}.csv`);
    const counts = await computeBars({
      events: await Promise.all(events.map((file) => file.close())),
      out,
      windowMs: WINDOW_MS,
      ...(turnsAway ? { turnedAway: { allowLateMs: MIXED.allowLateMs, out: this.bus.file('late') } } : {}),
    });
    await loadBars(this.client, table, out);
    return counts;
  }

  /**
   * Computes the bars of all that was published, and compares. The ticks are looked at first: late windows are made of what the
   * tick consumer stored, and a bar cannot be right that lacks them.
   */
  async equalsOracle(...events: readonly EventFile[]): Promise<OracleCounts> {
    const counts = await this.oracle('expected_bars', events);
    assert.ok((await this.bus.stored()) >= counts.distinct, 'the tick consumer has not stored every tick');
    await compareBars(this.client, 'expected_bars', 'bars_ohlcv');
    await this.equalsTickData();
    return counts;
  }

  /** What the policy `revise` promises: every final bar is what tick_data makes. Returns how many there are. */
  equalsTickData(): Promise<number> {
    return finalBarsEqual(this.bus, WINDOW_MS);
  }
}
