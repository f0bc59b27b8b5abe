import { testEnv } from '../../support/bus/env.ts';
/**
 * A member that owns partitions, in a process of its own: commits the positions 1, 2, 3 … of each partition it owns, each
 * with a row, and says what happens to it. SIGTERM: leaves.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from 'pg';
import { Ownership, type OwnedPartition } from '../../../src/bus/ownership.ts';
import { storeVerdict } from '../../../src/core/retry.ts';
import { commitPosition } from '../../../src/store/bus/partitions.ts';
import { connectDurable } from '../../../src/store/postgres/session.ts';

const [url = '', member = '', partitions = ''] = process.argv.slice(2);
const say = (what: string, partition: number): void =>
  console.log(JSON.stringify({ member, what, partition }));
const name = { topic: 'mdp.events', group: 'g' };
const workers = new Map<number, { stop: boolean; done: Promise<void> }>();

async function work(owned: OwnedPartition, worker: { stop: boolean }): Promise<void> {
  let client: Client | null = null;
  let position = Number(owned.position ?? 0);
  while (!worker.stop) {
    try {
      client ??= await connectDurable(url, member);
      await client.query('BEGIN');
      await commitPosition(client, name, owned, String(position + 1));
      await delay(5); // a transaction has a duration
      await client.query('INSERT INTO work VALUES ($1, $2, $3)', [owned.partition, position + 1, member]);
      await client.query('COMMIT');
      position += 1;
    } catch (error) {
      if (storeVerdict((error as { code?: string }).code) === 'fenced') {
        say('refused', owned.partition);
        break;
      }
      // the outcome is unknown: it would have to be read again
      say('failed', owned.partition);
      break;
    }
  }
  await client?.end().catch(() => {});
}

const ownership = await Ownership.start({
  ...name,
  role: 'bars',
  member,
  partitions: Number(partitions),
  connect: () => connectDurable(url, `${member} owner`),
  onAssign(owned) {
    say('assigned', owned.partition);
    const worker = { stop: false, done: Promise.resolve() };
    worker.done = work(owned, worker);
    workers.set(owned.partition, worker);
  },
  async onRevoke({ partition }) {
    const worker = workers.get(partition);
    if (worker === undefined) return;
    worker.stop = true;
    await worker.done;
    say('drained', partition);
  },
  onLost({ partition }) {
    say('lost', partition);
    const worker = workers.get(partition);
    if (worker !== undefined) worker.stop = true;
  },
  env: testEnv(),
});
process.once('SIGTERM', () => {
  void ownership.close();
});
