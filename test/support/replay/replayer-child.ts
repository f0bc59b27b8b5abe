/** A TickReplayer in a process of its own, until it is killed or its run has ended. */
import { TickReplayer } from '../../../src/serve/replay/tick-replayer.ts';
import { ReadPool } from '../../../src/store/queries/read-pool.ts';
import { StoreClient } from '../../../src/store/store-client.ts';
import type { BusOpener } from '../../conformance/bus-server.ts';
import { testEnv } from '../bus/env.ts';
import { TestBackpressure } from '../bus/publish-bus.ts';

export interface ReplayerTask {
  module: string;
  address: string;
  databaseUrl: string;
  holder: string;
}

const task = JSON.parse(process.argv[2] ?? '{}') as ReplayerTask;
const { openBus } = (await import(task.module)) as { openBus: BusOpener };
const store = new StoreClient({ dbUri: task.databaseUrl, applicationName: task.holder });
const bus = await openBus(task.address, {
  partitions: {},
  maxBytes: 2 ** 32,
  clientName: task.holder,
  checkpoints: store.busCheckpoints,
  env: testEnv(),
});
const replayer = new TickReplayer({
  bus,
  backpressure: new TestBackpressure(),
  store: store.replay,
  reads: new ReadPool({ databaseUrl: task.databaseUrl, statementMsMax: 60_000 }),
  topic: 'mdp.events',
  holder: task.holder,
  env: testEnv({
    log: (_level, message, fields) => process.stderr.write(`${message} ${JSON.stringify(fields)}\n`),
  }),
});
process.once('SIGTERM', () => void replayer.stop());
await replayer.start();
console.log('started');
await replayer.done;
await bus.close();
await store.aclose();
