import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import type { Program } from '../support/program.ts';
import type { Random } from '../support/random.ts';
import { until } from '../support/until.ts';
import { BARS_GROUP, type BarsRig, type Batcher } from './bars-rig.ts';

/** before a member that was killed comes back under its name */
const PAUSE_MS_MAX = 1_000;
/** one death in so many lasts until the others have taken over what was the dead one's */
const LONG_DEATHS = 5;

/** Members of the micro-batcher's group, of which one dies now and then. */
export class Members {
  readonly #rig: BarsRig;
  readonly #random: Random;
  readonly #alive: Batcher[] = [];
  kills = 0;
  takeovers = 0;

  private constructor(rig: BarsRig, random: Random) {
    this.#rig = rig;
    this.#random = random;
  }

  static async start(rig: BarsRig, count: number, random: Random): Promise<Members> {
    const members = new Members(rig, random);
    for (let at = 1; at <= count; at += 1) members.#alive.push(await rig.batcher(`bars-${at}`));
    return members;
  }

  get programs(): Program[] {
    return this.#alive.map(({ program }) => program);
  }

  /** kill -9 of one of them, whatever it does just now; it comes back. */
  async killOne(): Promise<void> {
    for (const { program } of this.#alive) assert.equal(program.end, null, program.tail);
    const at = this.#random.whole(0, this.#alive.length - 1);
    const { name, program } = this.#alive[at];
    const pauseMs = this.#random.whole(0, PAUSE_MS_MAX);
    await program.kill();
    this.kills += 1;
    if (this.#alive.length > 1 && this.kills % LONG_DEATHS === 2) await this.#untilTakenOver(name);
    else await delay(pauseMs);
    this.#alive[at] = await this.#rig.batcher(name);
  }

  /** The others have what the dead one had. */
  async #untilTakenOver(name: string): Promise<void> {
    const leases = async (): Promise<string> => {
      const { rows } = await this.#rig.client.query<{ holder: string | null }>(
        'SELECT holder FROM bus_partitions WHERE group_name = $1 ORDER BY partition',
        [BARS_GROUP],
      );
      return rows.map(({ holder }) => holder ?? '-').join(' ');
    };
    const had = (await leases()).split(' ').filter((holder) => holder === name).length;
    await until(`the partitions of ${name} are taken over`, async () => !(await leases()).includes(name), {
      context: leases,
    });
    if (had > 0) this.takeovers += 1;
  }
}
