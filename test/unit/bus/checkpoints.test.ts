import { test } from 'tap';
import { LogScopedCheckpoints } from '../../../src/bus/checkpoints.ts';

void test('a checkpoint of another log counts as none', async (t) => {
  const kept = new Map<string, string>();
  const starts = new Map<string, number>();
  const checkpoints = {
    read: (topic: string) => Promise.resolve(kept.get(topic) ?? null),
    write: (topic: string, _group: string, _partition: number, position: string) => {
      kept.set(topic, position);
      return Promise.resolve();
    },
    starting: (_topic: string, _group: string, _partition: number, position: string) => {
      starts.set(position, (starts.get(position) ?? 0) + 1);
      return Promise.resolve(starts.get(position) ?? 0);
    },
    drop: () => Promise.resolve(),
  };
  let logName = 'kafka:one';
  const placed = new LogScopedCheckpoints(checkpoints, () => Promise.resolve(logName));
  t.equal(await placed.read('t', 'g', 0), null);
  await placed.write('t', 'g', 0, '1000');
  t.equal(await placed.read('t', 'g', 0), '1000');
  t.equal(await placed.starting('t', 'g', 0, '7'), 1);
  t.equal(await placed.starting('t', 'g', 0, '7'), 2);
  logName = 'kafka:two';
  t.equal(await placed.read('t', 'g', 0), null);
  t.equal(await placed.starting('t', 'g', 0, '7'), 1, 'work on another log is not work on this one');
  logName = 'kafka:one';
  t.equal(await placed.read('t', 'g', 0), '1000');
});
