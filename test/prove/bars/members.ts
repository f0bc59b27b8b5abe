import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import type { Program } from '../../support/run/program.ts';
import type { Random } from '../../support/random.ts';
import { until } from '../../support/until.ts';
import { type BarsHarness, type Batcher } from './harness/harness.ts';
import { BARS_GROUP } from '../bus/bars.ts';

/** before a member that was killed comes back under its name */
const PAUSE_MS_MAX = 1_000;
/** the second of so many deaths lasts until the others have taken over what was the dead one's */
const LONG_DEATHS = 5;

/** Members of the micro-batcher's group, of which one dies or is stopped now and then. */
export class Members {
  readonly #harness: BarsHarness;
  readonly #random: Random;
  readonly #alive: Batcher[] = [];
  kills = 0;
  stops = 0;
  takeovers = 0;

  private constructor(harness: BarsHarness, random: Random) {
    this.#harness = harness;
    this.#random = random;
  }

  /** Resolves when every partition is somebody's. */
  static async start(harness: BarsHarness, count: number, random: Random): Promise<Members> {
    const members = new Members(harness, random);
    for (let at = 1; at <= count; at += 1) members.#alive.push(await harness.batcher(`bars-${at}`));
    await until('every partition is owned', async () => {
      members.#assertAlive();
      const holders = await members.#holders();
      return holders.length > 0 && holders.every((holder) => holder !== null);
    });
    return members;
  }

  get programs(): Program[] {
    return this.#alive.map(({ program }) => program);
  }

  /** kill -9 of one of them, whatever it does just now; it comes back. */
  async killOne(): Promise<void> {
    this.#assertAlive();
    this.kills += 1;
    const isLong = this.#alive.length > 1 && this.kills % LONG_DEATHS === 2;
    const at = isLong ? await this.#anOwner() : this.#anyone();
    const { name, program } = this.#alive[at];
    const pauseMs = this.#random.whole(0, PAUSE_MS_MAX);
    await program.kill();
    if (isLong) await this.#untilTakenOver(name);
    else await delay(pauseMs);
    this.#alive[at] = await this.#harness.batcher(name);
  }

  /** SIGTERM to one of them: it ends by itself and leaves nothing to be waited for. It comes back. */
  async stopOne(): Promise<void> {
    this.#assertAlive();
    const at = this.#anyone();
    const batcher = this.#alive[at];
    const { name, program } = batcher;
    await until(`${name} has started`, () => batcher.hasStarted(), { context: () => program.tail });
    assert.equal(await program.stop(), 0, program.tail);
    this.stops += 1;
    this.#alive[at] = await this.#harness.batcher(name);
  }

  #assertAlive(): void {
    for (const { program } of this.#alive) assert.equal(program.end, null, program.tail);
  }

  #anyone(): number {
    return this.#random.whole(0, this.#alive.length - 1);
  }

  async #anOwner(): Promise<number> {
    const holder = await until('somebody owns a partition', async () =>
      (await this.#holders()).find((name) => name !== null),
    );
    return this.#alive.findIndex(({ name }) => name === holder);
  }

  /** The others have what the dead one had. */
  async #untilTakenOver(name: string): Promise<void> {
    await until(
      `the partitions of ${name} are taken over`,
      async () => !(await this.#holders()).includes(name),
      { context: async () => JSON.stringify(await this.#holders()) },
    );
    this.takeovers += 1;
  }

  async #holders(): Promise<(string | null)[]> {
    const { rows } = await this.#harness.client.query<{ holder: string | null }>(
      'SELECT holder FROM bus_partitions WHERE group_name = $1 ORDER BY partition',
      [BARS_GROUP],
    );
    return rows.map(({ holder }) => holder);
  }
}
