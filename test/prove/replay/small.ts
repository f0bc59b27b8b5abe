import { after, test } from 'tap';
import { contextOf, tried } from '../../support/harness.ts';
import { sharedPostgres, type SharedPostgres } from '../../support/servers/postgres.ts';
import type { BusName } from '../bus/harness.ts';
import { continuesAfterKill, replaysInBurst } from './burst.ts';
import { makesTheSame } from './equality.ts';
import { keepsTime } from './pacing.ts';
import { SMALL } from './sizes.ts';

/** What `make prove-replay` shows at full size, on one bus. */
export function smallOnBus(bus: BusName): void {
  let server: SharedPostgres | null = null;
  after(() => server?.stop());
  const database = async (): Promise<string> => {
    server ??= await sharedPostgres();
    return server.createDatabase(undefined, { schema: false });
  };
  void test(`${bus}: a burst is what is stored`, (t) =>
    tried(t, () => replaysInBurst(contextOf(t, database), bus, SMALL.burst)));
  void test(`${bus}: killed half-way`, (t) =>
    tried(t, () => continuesAfterKill(contextOf(t, database), bus, SMALL.kill)));
  void test(`${bus}: paced and paused`, (t) =>
    tried(t, () => keepsTime(contextOf(t, database), bus, SMALL.pacing)));
  void test(`${bus}: bars and signals of a replay are the live ones`, (t) =>
    tried(t, () => makesTheSame(contextOf(t, database), bus, SMALL.equality)));
}
