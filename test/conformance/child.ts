import { testEnv } from '../support/bus/env.ts';
/**
 * A bus in a process of its own. `take`: joins, takes so many records, says which, and never acknowledges: it waits to be
 * killed. `move`: moves the topic's inbox, a few records at a time. `work`: says what it takes and acknowledges it, until it is killed. `tour`: uses everything once, closes, and must then end by itself.
 */
import { writeSync } from 'node:fs';
import type { BusOptions, Delivery } from '../../src/bus/bus.ts';
import { FileCheckpoints } from '../support/bus/file-checkpoints.ts';
import type { BusOpener } from './bus-server.ts';
import { moveUntilReplaced } from './inbox-cases.ts';

export interface ChildTask {
  does: 'take' | 'work' | 'move' | 'tour';
  module: string;
  address: string;
  checkpoints: string;
  partitions: Record<string, number>;
  topic: string;
  group: string;
  member: string;
  takeoverMs: number;
  count: number;
}

const task = JSON.parse(process.argv[2] ?? '{}') as ChildTask;
const { openBus } = (await import(task.module)) as { openBus: BusOpener };
const options: BusOptions = {
  partitions: task.partitions,
  maxBytes: 2 ** 31,
  clientName: 'bus-child',
  checkpoints: new FileCheckpoints(task.checkpoints),
  env: testEnv(),
};
const bus = await openBus(task.address, options);
const { topic, group, member, takeoverMs } = task;

if (task.does === 'take') {
  const joined = await bus.join({ topic, group, member, takeoverMs });
  const taken: Delivery[] = [];
  while (taken.length < task.count) taken.push(...(await joined.next(task.count - taken.length, 500)));
  console.log(JSON.stringify(taken.map(({ eventId, attempts }) => ({ eventId, attempts }))));
  setInterval(() => {}, 60_000); // lives, beats its heart, and does nothing
} else if (task.does === 'work') {
  const joined = await bus.join({ topic, group, member, takeoverMs });
  for (;;) {
    const batch = await joined.next(task.count, 500);
    // on its way before it is acknowledged, however this process ends
    if (batch.length > 0) writeSync(1, `${JSON.stringify(batch.map(({ eventId }) => eventId))}\n`);
    await joined.acknowledge(batch);
  }
} else if (task.does === 'move') {
  for (;;) await moveUntilReplaced(bus, topic, member, task.count);
} else {
  const data = new TextEncoder().encode('{}');
  await bus.publish(topic, [{ key: 'A', eventId: 'A|1', data, encoding: 'json' }]);
  const joined = await bus.join({ topic, group, member, takeoverMs });
  await joined.acknowledge(await joined.next(10, 5000));
  const owned = await bus.openPartition({ topic, group: `${group}-2`, member, partition: 0, after: null });
  const [first] = await owned.next(10, 5000);
  if (first !== undefined) await owned.release(first.position);
  await bus.groups(topic);
  await bus.usage();
  const blocked = joined.next(10, 60_000).catch(() => []);
  await owned.close();
  await bus.close();
  await blocked;
  console.log('closed');
}
