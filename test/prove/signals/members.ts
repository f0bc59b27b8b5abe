import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import type { Program } from '../../support/run/program.ts';
import type { Random } from '../../support/random.ts';
import { until } from '../../support/until.ts';
import type { Member, SignalsHarness } from './harness/harness.ts';
import { GROUPS, type SignalRole } from './harness/roles.ts';

/** before a member that was killed comes back under its name */
const PAUSE_MS_MAX = 1_000;
const ROLES: readonly SignalRole[] = ['signals', 'infer'];

/** Members of both stages, of which one dies, leaves or joins now and then. */
export class Members {
  readonly #harness: SignalsHarness;
  readonly #random: Random;
  readonly #alive: Member[] = [];
  #joined = 0;
  kills = 0;
  stops = 0;
  frozen = 0;
  takeovers = 0;

  private constructor(harness: SignalsHarness, random: Random) {
    this.#harness = harness;
    this.#random = random;
  }

  /** So many of each stage. Resolves when every partition is somebody's. */
  static async start(harness: SignalsHarness, count: number, random: Random): Promise<Members> {
    const members = new Members(harness, random);
    for (const role of ROLES)
      for (let at = 1; at <= count; at += 1) members.#alive.push(harness.member(role, `${role}-${at}`));
    await until('every partition is owned', async () => {
      members.#assertAlive();
      for (const role of ROLES) {
        const holders = await members.#holders(role);
        if (holders.length === 0 || holders.includes(null)) return false;
      }
      return true;
    });
    return members;
  }

  get programs(): Program[] {
    return this.#alive.map(({ program }) => program);
  }

  /** None is still on its way. */
  async untilStarted(): Promise<void> {
    await until('all have started', () => {
      this.#assertAlive();
      return this.#alive.every((member) => member.hasStarted());
    });
  }

  /** kill -9 of one of them, whatever it does just now; it comes back under its name. */
  async killOne(): Promise<void> {
    this.#assertAlive();
    this.kills += 1;
    const at = this.#anyone();
    const { role, name, program } = this.#alive[at];
    await program.kill();
    await delay(this.#random.whole(0, PAUSE_MS_MAX));
    this.#alive[at] = this.#harness.member(role, name);
  }

  /** kill -9 of one that owns partitions, which comes back under another name when others have them. */
  async loseOne(): Promise<void> {
    this.#assertAlive();
    this.kills += 1;
    const role = this.#random.pick(ROLES);
    const holder = await until('somebody owns a partition', async () =>
      (await this.#holders(role)).find((name) => name !== null),
    );
    const at = this.#alive.findIndex(({ name }) => name === holder);
    await this.#alive[at].program.kill();
    this.#alive.splice(at, 1);
    await until(`the partitions of ${holder} are taken over`, async () => {
      return !(await this.#holders(role)).includes(holder);
    });
    this.takeovers += 1;
    await this.join(role);
  }

  /** SIGSTOP and SIGCONT of one of them: others take over what it owns, if it takes that long. */
  async stopOne(ms: number): Promise<void> {
    this.#assertAlive();
    await this.#freeze([this.#alive[this.#anyone()]], ms);
  }

  /** The same of all of them at once. */
  async stopAll(ms: number): Promise<void> {
    this.#assertAlive();
    await this.#freeze(this.#alive, ms);
  }

  /** SIGTERM to one of them: it ends by itself. Another one joins. */
  async exchangeOne(): Promise<void> {
    this.#assertAlive();
    const at = this.#anyone();
    const member = this.#alive[at];
    const { role, program } = member;
    await this.untilStarted();
    await this.join(role);
    this.#alive.splice(at, 1);
    assert.equal(await program.stop(), 0, program.tail);
    this.stops += 1;
  }

  async join(role: SignalRole): Promise<void> {
    this.#joined += 1;
    this.#alive.push(this.#harness.member(role, `${role}-joined-${this.#joined}`));
    await delay(0);
  }

  async #freeze(some: readonly Member[], ms: number): Promise<void> {
    this.frozen += some.length;
    for (const { program } of some) program.signal('SIGSTOP');
    await delay(ms);
    for (const { program } of some) program.signal('SIGCONT');
  }

  #assertAlive(): void {
    for (const { program } of this.#alive) assert.equal(program.end, null, program.tail);
  }

  #anyone(): number {
    return this.#random.whole(0, this.#alive.length - 1);
  }

  async #holders(role: SignalRole): Promise<(string | null)[]> {
    const { rows } = await this.#harness.client.query<{ holder: string | null }>(
      'SELECT holder FROM bus_partitions WHERE group_name = $1 ORDER BY partition',
      [GROUPS[role]],
    );
    return rows.map(({ holder }) => holder);
  }
}
