import { after, test } from 'tap';
import { startPostgres, type TestPostgres } from '../../support/servers/postgres.ts';
import { contextOf, tried } from '../../support/harness.ts';
import { survivesBusFaults } from './faults.ts';
import { takesForeignEvents } from './foreign.ts';
import { publishesOrders } from './orders.ts';
import type { BusName } from './harness.ts';
import { keepsValuesApart } from './values.ts';
import { carriesVolume } from './volume.ts';
import type { Figures, ScenarioContext } from '../harness.ts';

const VOLUME = { prefilled: 5_000, live: 2_000 };
const FAULTS = { events: 4_000, rate: 2_000, kills: 1, crashes: 1 };

/** Every scenario of make prove-bus with less of everything, as tests: whole programs on one real bus. */
export function smallScenarios(bus: BusName): void {
  let postgres: TestPostgres | null = null;
  after(() => postgres?.stop());
  const database = async (): Promise<string> => {
    postgres ??= await startPostgres({ settings: { synchronous_commit: 'on' } });
    return postgres.createDatabase();
  };
  const scenario = (what: string, run: (context: ScenarioContext) => Promise<Figures>): void => {
    void test(`${bus}: ${what}`, (t) => tried(t, () => run(contextOf(t, database))));
  };
  scenario('consumers killed, the server restarted', (context) => survivesBusFaults(context, bus, FAULTS));
  scenario('trades of one µs, and events that are none', (context) => keepsValuesApart(context, bus));
  scenario('orders of the real ticks', (context) => publishesOrders(context, bus));
  scenario('events of foreign programs', (context) => takesForeignEvents(context, bus));
  scenario('a volume of events, for one consumer and for two', (context) =>
    carriesVolume(context, bus, VOLUME),
  );
}
