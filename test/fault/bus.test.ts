import { after, test } from 'tap';
import { survivesBusFaults } from '../prove/bus-faults.ts';
import { takesForeignEvents } from '../prove/bus-foreign.ts';
import { publishesOrders } from '../prove/bus-orders.ts';
import { BUSES, type BusName } from '../prove/bus-rig.ts';
import { keepsValuesApart } from '../prove/bus-values.ts';
import { carriesVolume } from '../prove/bus-volume.ts';
import type { Figures, Scene } from '../prove/scene.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { sceneOf, tried } from '../support/scene.ts';

const VOLUME = { prefilled: 10_000, live: 5_000 };
const FAULTS = { events: 6_000, rate: 1_500, kills: 1, crashes: 1 };

let postgres: TestPostgres | null = null;
after(() => postgres?.stop());

async function database(): Promise<string> {
  postgres ??= await startPostgres({ settings: { synchronous_commit: 'on' } });
  return postgres.createDatabase();
}

/** Programs on a real server, with less of everything than in make prove-bus. */
function onEveryBus(what: string, run: (scene: Scene, bus: BusName) => Promise<Figures>): void {
  for (const bus of BUSES) {
    void test(`${bus}: ${what}`, (t) => tried(t, run(sceneOf(t, database), bus)));
  }
}

onEveryBus('a volume of events, for one consumer and for two', (scene, bus) =>
  carriesVolume(scene, bus, VOLUME),
);
onEveryBus('consumers killed, the server restarted', (scene, bus) => survivesBusFaults(scene, bus, FAULTS));
onEveryBus('trades of one µs, and events that are none', keepsValuesApart);
onEveryBus('orders of the real ticks', publishesOrders);
onEveryBus('events of foreign programs', takesForeignEvents);
