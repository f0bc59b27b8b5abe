import { test } from 'tap';
import { Client } from 'pg';
import { BusCheckpoints } from '../../../../src/store/bus/checkpoints.ts';
import { migrateAll } from '../../../support/bus/postgres-bus.ts';
import { testServers } from '../../../support/servers/postgres.ts';

for (const candidate of testServers()) {
  void test(`checkpoints of groups on the ${candidate.name} server`, { skip: candidate.skip }, async (t) => {
    const server = await candidate.open();
    t.teardown(() => server.close());
    const url = await server.createDatabase({ schema: false });
    await migrateAll(url);
    const opened: Client[] = [];
    t.teardown(() => Promise.all(opened.map((client) => client.end().catch(() => {}))));
    const open = async (): Promise<Client> => {
      const client = new Client({ connectionString: url });
      client.on('error', () => {});
      await client.connect();
      opened.push(client);
      return client;
    };
    let session: Promise<Client> | null = null;
    const checkpoints = new BusCheckpoints(async (work) => work(await (session ??= open())));

    await t.test('what was written is read, each for itself', async (s) => {
      s.equal(await checkpoints.read('topic', 'g', 0), null);
      await checkpoints.write('topic', 'g', 0, '1755945303178-0');
      await checkpoints.write('topic', 'g', 1, '17');
      await checkpoints.write('topic', 'other', 0, '9');
      await checkpoints.write('topic', 'g', 0, '1755945303179-2');
      await checkpoints.write('topic', 'g', 0, '1755945303179-2');
      s.equal(await checkpoints.read('topic', 'g', 0), '1755945303179-2');
      s.equal(await checkpoints.read('topic', 'g', 1), '17');
      s.equal(await checkpoints.read('topic', 'other', 0), '9');
      s.equal(await checkpoints.read('elsewhere', 'g', 0), null);
    });

    await t.test('an equal checkpoint writes nothing', async (s) => {
      const client = await open();
      const version = async (): Promise<unknown> =>
        (
          await client.query(
            "SELECT xmin, updated_at FROM bus_marks WHERE group_name = 'g' AND partition = 1",
          )
        ).rows[0];
      const before = await version();
      await checkpoints.write('topic', 'g', 1, '17');
      s.same(await version(), before);
    });

    await t.test('work that begins at one position again and again is counted', async (s) => {
      s.equal(await checkpoints.starting('topic', 'g', 0, '5'), 1);
      s.equal(await checkpoints.starting('topic', 'g', 0, '5'), 2);
      s.equal(await checkpoints.starting('topic', 'g', 1, '5'), 1, 'each partition for itself');
      s.equal(await checkpoints.starting('topic', 'g', 0, '6'), 1, 'it went on');
      s.equal(await checkpoints.starting('topic', 'g', 0, '5'), 1);
      s.equal(await checkpoints.read('topic', 'g', 0), '1755945303179-2', 'which is no acknowledgement');
      await checkpoints.write('topic', 'g', 0, '1755945303180-0');
      s.equal(await checkpoints.starting('topic', 'g', 0, '5'), 2, 'nor is an acknowledgement a start');
      s.equal(await checkpoints.starting('topic', 'new', 0, '1'), 1);
      s.equal(await checkpoints.read('topic', 'new', 0), null, 'nothing was acknowledged yet');
    });

    await t.test('checkpoints outlive a session; what is dropped is gone, and nothing else', async (s) => {
      (await session!).connection.stream.destroy();
      session = null;
      s.equal(await checkpoints.read('topic', 'g', 1), '17');
      await checkpoints.drop('topic', 'g');
      s.equal(await checkpoints.read('topic', 'g', 0), null);
      s.equal(await checkpoints.read('topic', 'g', 1), null);
      s.equal(await checkpoints.read('topic', 'other', 0), '9');
    });

    await t.test('without a session the error is the session’s', async (s) => {
      const failing = new BusCheckpoints(() => Promise.reject(new Error('no server')));
      await s.rejects(failing.read('topic', 'g', 0), /no server/);
    });
  });
}
