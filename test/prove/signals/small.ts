import { after, test } from 'tap';
import { startPostgres, type TestPostgres } from '../../support/servers/postgres.ts';
import { contextOf, tried } from '../../support/harness.ts';
import type { BusName } from '../bus/harness.ts';
import { SIGNALS_SETTINGS, SMALL } from './harness/sizes.ts';
import { survivesKills } from './kills.ts';

/**
 * The scenario of make prove-signals that runs on all buses, with less of everything.
 * @param members of each stage; of several, one's partitions are taken over, which takes as long as a lease
 */
export function smallOnEachBus(bus: BusName, members = 1): void {
  let postgres: TestPostgres | null = null;
  after(() => postgres?.stop());
  const database = async (): Promise<string> => {
    postgres ??= await startPostgres({ settings: SIGNALS_SETTINGS });
    return postgres.createDatabase();
  };
  void test(`${bus}: equal signals although members are killed, leave and join, and in a replay`, (t) =>
    tried(t, () => survivesKills(contextOf(t, database), bus, { ...SMALL.kills, members })));
}
