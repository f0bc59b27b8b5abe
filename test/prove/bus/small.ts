import { after, test } from 'tap';
import { startPostgres, type TestPostgres } from '../../support/servers/postgres.ts';
import { sceneOf, tried } from '../../support/harness.ts';
import { survivesBusFaults } from './faults.ts';
import { takesForeignEvents } from './foreign.ts';
import { publishesOrders } from './orders.ts';
import type { BusName } from './harness.ts';
import { keepsValuesApart } from './values.ts';
import { carriesVolume } from './volume.ts';
import type { Figures, Scene } from '../harness.ts';

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
  const scenario = (what: string, run: (scene: Scene) => Promise<Figures>): void => {
    void test(`${bus}: ${what}`, (t) => tried(t, () => run(sceneOf(t, database))));
  };
  scenario('consumers killed, the server restarted', (scene) => survivesBusFaults(scene, bus, FAULTS));
  scenario('trades of one µs, and events that are none', (scene) => keepsValuesApart(scene, bus));
  scenario('orders of the real ticks', (scene) => publishesOrders(scene, bus));
  scenario('events of foreign programs', (scene) => takesForeignEvents(scene, bus));
  scenario('a volume of events, for one consumer and for two', (scene) => carriesVolume(scene, bus, VOLUME));
}
