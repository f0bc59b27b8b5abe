import { testEnv } from '../../../support/bus/env.ts';
import { randomUUID } from 'node:crypto';
import { test, type Test } from 'tap';
import { Client } from 'pg';
import {
  BusError,
  type BusOptions,
  type GroupCheckpoints,
  type Delivery,
  type PartitionReader,
} from '../../../../src/bus/bus.ts';
import { PostgresBus, type PostgresBusOptions } from '../../../../src/bus/postgres/bus.ts';
import { connect, parseDatabaseUrl } from '../../../../src/store/postgres/connect.ts';
import { idsOf, insist, record, recordsOf } from '../../../conformance/harness.ts';
import { migrateAll, withClient } from '../../../support/bus/postgres-bus.ts';
import { testServers, type OpenTestServer } from '../../../support/servers/postgres.ts';
import { until } from '../../../support/until.ts';

interface Said {
  level: string;
  message: string;
  fields: Record<string, unknown>;
}

interface Harness {
  url: string;
  topic: string;
  said: Said[];
  bus: (options?: Partial<PostgresBusOptions>) => PostgresBus;
  /** a session of its own, as another program has it */
  client: () => Promise<Client>;
}

const PARTITIONS = 4;

async function harnessOf(t: Test, server: OpenTestServer): Promise<Harness> {
  const url = await server.createDatabase({ schema: false });
  await migrateAll(url);
  const said: Said[] = [];
  const topic = 'mdp.events';
  const base: BusOptions = {
    partitions: { wide: PARTITIONS },
    maxBytes: 2 ** 31,
    clientName: 'test',
    checkpoints: noCheckpoints,
    env: testEnv({ log: (level, message, fields) => said.push({ level, message, fields }) }),
  };
  return {
    url,
    topic,
    said,
    bus(options = {}) {
      const bus = new PostgresBus({ databaseUrl: url, ...base, ...options });
      t.teardown(() => bus.close());
      return bus;
    },
    async client() {
      const client = await connect(parseDatabaseUrl(url), { applicationName: 'other program' });
      t.teardown(() => client.end());
      return client;
    },
  };
}

const noCheckpoints: GroupCheckpoints = {
  read: async () => null,
  write: async () => {},
  starting: async () => 1,
  drop: async () => {},
};

async function readAll(reader: PartitionReader, count: number, limit = 1000): Promise<Delivery[]> {
  const all: Delivery[] = [];
  await until(
    `${count} records`,
    async () => {
      all.push(...(await insist(() => reader.next(limit, 500))));
      return all.length >= count;
    },
    { pollMs: 0, progress: () => all.length },
  );
  return all;
}

async function rejectsWith(
  t: Test,
  kind: BusError['kind'],
  call: () => Promise<unknown>,
  match?: RegExp,
): Promise<void> {
  const error: unknown = await call().then(
    () => null,
    (e: unknown) => e,
  );
  t.ok(error instanceof BusError, `a BusError: ${String(error)}`);
  t.equal((error as BusError).kind, kind, String(error));
  if (match !== undefined) t.match((error as BusError).message, match);
}

for (const candidate of testServers()) {
  void test(`the postgres bus on the ${candidate.name} server`, { skip: candidate.skip }, async (t) => {
    const server = await candidate.open();
    t.teardown(() => server.close());

    await t.test('no reader passes a commit that comes late', async (s) => {
      const { bus, topic, client } = await harnessOf(s, server);
      const publisher = bus();
      await publisher.publish(topic, recordsOf('A', 3));
      const reader = await bus().openPartition({
        topic,
        group: 'own',
        member: 'r',
        partition: 0,
        after: null,
      });
      const member = await bus().join({ topic, group: 'shared', member: 'm' });
      s.equal((await readAll(reader, 3)).length, 3);
      s.equal((await member.next(10, 0)).length, 3);

      const slow = await client();
      await slow.query('BEGIN');
      const [held] = await publisher.publishWithin(slow, topic, recordsOf('LATE', 5));
      const quick = publisher.publish(topic, recordsOf('QUICK', 5));
      s.same(await reader.next(10, 300), [], 'nothing of either');
      s.same(await member.next(10, 300), []);
      await slow.query('COMMIT');
      const positions = await quick;
      s.ok(publisher.compare(held, positions[0]) < 0);
      const expected = idsOf([...recordsOf('LATE', 5), ...recordsOf('QUICK', 5)]);
      s.same(idsOf(await readAll(reader, 10)), expected);
      const shared: Delivery[] = [];
      await until('all', async () => shared.push(...(await member.next(10, 500))) === 10);
      s.same(idsOf(shared), expected);
    });

    await t.test(
      'publishers in transactions of their own leave no hole and take none of the others',
      async (s) => {
        const { bus, client } = await harnessOf(s, server);
        const topic = 'wide';
        const keys = ['SPY', 'AAPL', 'MSFT', 'QQQ', 'TSLA', 'GLD', 'IWM', 'SOL-USDC'];
        const publisher = bus();
        let committed = 0;
        const work = async (nth: number): Promise<void> => {
          const session = await client();
          for (let round = 0; round < 25; round++) {
            await session.query('BEGIN');
            // orders of partitions that would deadlock if they were locked as they come
            const records = keys.map((key) => record(key, round * 10 + nth));
            await publisher.publishWithin(session, topic, nth % 2 === 0 ? records : records.toReversed());
            const aborts = (round + nth) % 5 === 0;
            await session.query(aborts ? 'ROLLBACK' : 'COMMIT');
            if (!aborts) committed += records.length;
          }
        };
        const working = Promise.all([0, 1, 2].map(work));
        const readers = await Promise.all(
          Array.from({ length: PARTITIONS }, (_, partition) =>
            bus().openPartition({ topic, group: 'own', member: 'r', partition, after: null }),
          ),
        );
        const seen: Delivery[][] = readers.map(() => []);
        await Promise.all(
          readers.map(async (reader, at) => {
            let isDone = false;
            const done = working.then(() => (isDone = true));
            for (;;) {
              const batch = await reader.next(7, 50);
              seen[at].push(...batch);
              if (isDone && batch.length === 0) break;
            }
            await done;
          }),
        );
        s.equal(seen.flat().length, committed);
        for (const [partition, records] of seen.entries()) {
          s.same(
            records.map(({ position }) => position),
            records.map((_, at) => String(at)),
            `partition ${partition} without a hole`,
          );
        }
      },
    );

    await t.test('a log is cut into segments; those of which nothing is needed are dropped', async (s) => {
      const { bus, topic, client, said } = await harnessOf(s, server);
      const publisher = bus({ segment: { rows: 100, bytes: 2 ** 30 } });
      for (let at = 0; at < 20; at++) await publisher.publish(topic, recordsOf('A', 50, at * 50));
      const session = await client();
      const tables = async (): Promise<string[]> => {
        const { rows } = await session.query<{ name: string }>(
          "SELECT relname AS name FROM pg_class WHERE relname ~ '^bus_segment_[0-9]+$' ORDER BY oid",
        );
        return rows.map(({ name }) => name);
      };
      s.equal((await tables()).length, 10);
      const owner = bus();
      const reader = await owner.openPartition({
        topic,
        group: 'own',
        member: 'r',
        partition: 0,
        after: null,
      });
      const all = await readAll(reader, 1000, 300);
      s.same(idsOf(all), idsOf(recordsOf('A', 1000)), 'read across segments');
      await reader.release(all[449].position);

      // somebody who reads a segment for a long time does not stop the bus, and keeps no more than his segment
      await session.query('BEGIN');
      await session.query(`SELECT count(*) FROM ${(await tables())[1]}`);
      s.equal(await publisher.trim(topic, { acknowledgedMs: 0, retentionMs: 0 }), 450);
      s.equal((await tables()).length, 7, 'four of ten, but one is in use');
      s.match(said.at(-1)?.message, /being read/);
      await session.query('COMMIT');
      s.equal(await publisher.trim(topic, { acknowledgedMs: 0, retentionMs: 0 }), 0);
      s.equal((await tables()).length, 6);
      s.equal((await publisher.read(topic, 0, null, 1))[0]?.eventId, 'A|450');

      await reader.release(all[999].position);
      await publisher.trim(topic, { acknowledgedMs: 0, retentionMs: 0 });
      s.same(await tables(), [], 'the open one as well');
      s.equal((await publisher.usage()).bytes, 0);
      const [next] = await publisher.publish(topic, recordsOf('A', 1, 1000));
      s.equal(next, '1000');
      s.same(idsOf(await readAll(reader, 1)), ['A|1000']);
    });

    await t.test('segments are cut by bytes as well; one batch is never cut', async (s) => {
      const { bus, topic, client } = await harnessOf(s, server);
      const publisher = bus({ segment: { rows: 1_000_000, bytes: 100_000 } });
      const data = new Uint8Array(30_000);
      for (let at = 0; at < 8; at++) {
        await publisher.publish(topic, [{ key: 'A', eventId: `e${at}`, data, encoding: 'json' }]);
      }
      const many = Array.from({ length: 20 }, (_, at) => ({
        key: 'A',
        eventId: `m${at}`,
        data,
        encoding: 'json' as const,
      }));
      await publisher.publish(topic, many);
      const session = await client();
      const { rows } = await session.query('SELECT first_offset FROM bus_segments ORDER BY segment_id');
      s.same(
        rows.map((row: { first_offset: string }) => row.first_offset),
        ['0', '3', '6', '8'],
      );
    });

    await t.test('a reader that meets a dropped segment goes on with the next and says so', async (s) => {
      const { bus, topic, client, said } = await harnessOf(s, server);
      const publisher = bus({ segment: { rows: 10, bytes: 2 ** 30 } });
      for (let at = 0; at < 5; at++) await publisher.publish(topic, recordsOf('A', 10, at * 10));
      const reader = await bus().openPartition({
        topic,
        group: 'own',
        member: 'r',
        partition: 0,
        after: null,
      });
      const member = await bus().join({ topic, group: 'shared', member: 'm' });
      s.equal((await reader.next(5, 0)).length, 5);
      const session = await client();
      // not by trim(), which would never do it
      await session.query(
        'SELECT bus_drop_segment(segment_id) FROM bus_segments WHERE first_offset IN (10, 30)',
      );
      const rest = await readAll(reader, 25);
      s.same(
        idsOf(rest),
        idsOf([...recordsOf('A', 5, 5), ...recordsOf('A', 10, 20), ...recordsOf('A', 10, 40)]),
      );
      const missing = said
        .filter(({ level }) => level === 'error')
        .map(({ fields }) => [fields['first'], fields['last']]);
      s.same(missing, [
        ['10', '19'],
        ['30', '39'],
      ]);

      const shared = await member.next(100, 0);
      s.same(
        shared.map(({ position }) => Number(position)),
        Array.from({ length: 50 }, (_, at) => at),
        'a member is told of each',
      );
      s.same(
        shared.filter(({ data }) => data === null).map(({ position }) => Number(position)),
        [
          ...Array.from({ length: 10 }, (_, at) => at + 10),
          ...Array.from({ length: 10 }, (_, at) => at + 30),
        ],
      );
      await member.acknowledge(shared);
      s.equal((await publisher.groups(topic)).find(({ group }) => group === 'shared')?.pending, 0);
    });

    await t.test('a batch of large records comes in pieces', async (s) => {
      const { bus, topic } = await harnessOf(s, server);
      const publisher = bus();
      const large = Array.from({ length: 12 }, (_, at) => ({
        key: 'A',
        eventId: `e${at}`,
        data: new Uint8Array(3_000_000).fill(at),
        encoding: 'json' as const,
      }));
      await publisher.publish(topic, large);
      const member = await bus().join({ topic, group: 'shared', member: 'm' });
      const reader = await bus().openPartition({
        topic,
        group: 'own',
        member: 'r',
        partition: 0,
        after: null,
      });
      for (const from of [member, reader]) {
        const sizes: number[] = [];
        const all: Delivery[] = [];
        await until('all', async () => {
          const batch = await from.next(100, 500);
          sizes.push(batch.length);
          all.push(...batch);
          return all.length >= 12;
        });
        s.same(idsOf(all), idsOf(large));
        s.ok(
          all.every(({ data }, at) => data !== null && data.length === 3_000_000 && data[2_999_999] === at),
          'whole',
        );
        s.ok(Math.max(...sizes) <= 6, `${sizes.join(', ')} at a time`);
      }
      s.equal((await member.next(100, 0)).length, 0);
    });

    await t.test('a notification that is lost costs a second, not a record', async (s) => {
      const { bus, topic, client } = await harnessOf(s, server);
      const publisher = bus();
      await publisher.publish(topic, recordsOf('A', 1));
      const consumer = bus();
      const member = await consumer.join({ topic, group: 'g', member: 'm' });
      s.equal((await member.next(10, 1000)).length, 1);
      const session = await client();
      for (let round = 1; round <= 3; round++) {
        const waiting = member.next(10, 20_000);
        const cut = await until('it listens', async () => {
          const { rowCount } = await session.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE '% listen'",
          );
          return (rowCount ?? 0) > 0;
        });
        s.ok(cut);
        await publisher.publish(topic, recordsOf('A', 1, round));
        s.same(idsOf(await waiting), [`A|${round}`]);
      }
    });

    await t.test('publishers notify only where somebody waits, once for a batch', async (s) => {
      const { bus, topic, client } = await harnessOf(s, server);
      const publisher = bus();
      const ear = await client();
      const heard: string[] = [];
      ear.on('notification', ({ payload }) => heard.push(payload ?? ''));
      const { rows } = await ear.query<{ channel: string }>('SELECT bus_channel() AS channel');
      await ear.query(`LISTEN ${rows[0].channel}`);
      await publisher.publish(topic, recordsOf('A', 100));
      await publisher.publish('wide', recordsOf('B', 100));
      await ear.query('SELECT 1');
      s.same(heard, []);
      const member = await bus().join({ topic, group: 'g', member: 'm' });
      s.equal((await member.next(100, 0)).length, 100);
      const waiting = member.next(100, 20_000);
      await until('it waits', async () => (await ear.query('SELECT FROM bus_waits')).rowCount === 1);
      await publisher.publish(topic, recordsOf('A', 100, 100));
      s.ok((await waiting).length > 0);
      await publisher.publish('wide', recordsOf('B', 100, 100));
      await ear.query('SELECT 1');
      s.same(heard, [topic]);
    });

    await t.test('a member whose name another process took is told so', async (s) => {
      const { bus, topic } = await harnessOf(s, server);
      await bus().publish(topic, recordsOf('A', 20));
      const old = await bus().join({ topic, group: 'g', member: 'm' });
      const held = await old.next(10, 0);
      const fresh = await bus().join({ topic, group: 'g', member: 'm' });
      await rejectsWith(
        s,
        'setup',
        () => old.next(10, 0),
        /another process joined group g of mdp.events as member m/,
      );
      const again = await fresh.next(20, 0);
      s.same(idsOf(again), idsOf(held), 'what its name had in hand, alone');
      s.ok(again.every(({ attempts }) => attempts === 2));
      s.same(idsOf(await fresh.next(20, 0)), idsOf(recordsOf('A', 10, 10)));
    });

    await t.test(
      'what was in hand comes again in pieces as they are asked for, each piece counted alone',
      async (s) => {
        const { bus, topic } = await harnessOf(s, server);
        await bus().publish(topic, recordsOf('A', 30));
        const first = await bus().join({ topic, group: 'g', member: 'm' });
        s.equal((await first.next(30, 0)).length, 30);
        const second = await bus().join({ topic, group: 'g', member: 'm' });
        const one = await second.next(1, 0);
        s.match(one, [{ eventId: 'A|0', attempts: 2 }]);
        const third = await bus().join({ topic, group: 'g', member: 'm' });
        s.match(await third.next(1, 0), [{ eventId: 'A|0', attempts: 3 }]);
        const rest = await third.next(100, 0);
        s.same(
          rest.map(({ eventId, attempts }) => [eventId, attempts]),
          recordsOf('A', 29, 1).map(({ eventId }) => [eventId, 2]),
          'its neighbours were not tried so often',
        );
      },
    );

    await t.test('a group that is dropped under a living member is made again', async (s) => {
      const { bus, topic, said } = await harnessOf(s, server);
      const publisher = bus();
      await publisher.publish(topic, recordsOf('A', 5));
      const member = await bus().join({ topic, group: 'g', member: 'm' });
      await member.acknowledge(await member.next(5, 0));
      s.equal(await publisher.dropGroup(topic, 'g'), true);
      await publisher.publish(topic, recordsOf('A', 5, 5));
      const found = await member.next(100, 0);
      s.same(idsOf(found), idsOf(recordsOf('A', 10)), 'from the beginning, for no checkpoint was kept here');
      s.match(said.at(-1)?.message, /made again/);
    });

    await t.test('acknowledging pieces in any order leaves exactly the rest', async (s) => {
      const { bus, topic, client } = await harnessOf(s, server);
      await bus().publish(topic, recordsOf('A', 1000));
      const member = await bus().join({ topic, group: 'g', member: 'm' });
      const taken = [...(await member.next(600, 0)), ...(await member.next(400, 0))];
      s.equal(taken.length, 1000);
      const odd = taken.filter((_, at) => at % 2 === 1);
      const even = taken.filter((_, at) => at % 2 === 0);
      await member.acknowledge(odd.toReversed());
      const session = await client();
      const claims = async (): Promise<number> =>
        (await session.query('SELECT FROM bus_claims')).rowCount ?? 0;
      s.equal(await claims(), 500);
      await Promise.all([member.acknowledge(even.slice(0, 300)), member.acknowledge(even.slice(200, 490))]);
      s.equal(await claims(), 10);
      const again = await bus().join({ topic, group: 'g', member: 'm' });
      s.same(idsOf(await again.next(100, 0)), idsOf(even.slice(490)));
      await member.acknowledge(even);
      s.equal(await claims(), 0);
    });

    await t.test('errors say what the operator must know', async (s) => {
      const { bus, topic, url, client } = await harnessOf(s, server);
      const at = (change: (u: URL) => void): string => {
        const other = new URL(url);
        change(other);
        return other.href;
      };
      const nowhere = bus({ databaseUrl: at((u) => (u.pathname = `/none_${randomUUID()}`)) });
      await rejectsWith(s, 'setup', () => nowhere.publish(topic, recordsOf('A', 1)), /3D000/);
      const closed = bus({ databaseUrl: at((u) => (u.port = '1')) });
      await rejectsWith(s, 'unreachable', () => closed.publish(topic, recordsOf('A', 1)));
      const empty = bus({ databaseUrl: await server.createDatabase({ schema: false }) });
      await rejectsWith(s, 'setup', () => empty.publish(topic, recordsOf('A', 1)), /mdp db migrate/);
      await rejectsWith(s, 'setup', () => empty.join({ topic, group: 'g', member: 'm' }), /mdp db migrate/);

      const working = bus();
      await rejectsWith(s, 'refused', () => working.publish(topic, [record('A\0B', 1)]), /22021/);
      const data = new Uint8Array(17 * 2 ** 20);
      await rejectsWith(s, 'refused', () =>
        working.publish(topic, [record('A', 1), { key: 'A', eventId: null, data, encoding: 'json' }]),
      );
      s.same(await working.read(topic, 0, null, 10), [], 'nothing of it is there');
      await rejectsWith(s, 'setup', () => working.read(topic, 0, '1755945303178-0', 10), /kind of bus/);

      await working.publish(topic, recordsOf('A', 10));
      const small = bus({ maxBytes: 10_000 });
      await rejectsWith(s, 'full', () => small.publish(topic, recordsOf('A', 1)), /bus.max_bytes/);

      const holder = await client();
      await holder.query('BEGIN');
      await holder.query('SELECT FROM bus_logs FOR UPDATE');
      const impatient = bus({
        databaseUrl: at((u) => u.searchParams.set('options', '-clock_timeout=200ms')),
      });
      await rejectsWith(s, 'unreachable', () => impatient.publish(topic, recordsOf('A', 1)), /55P03/);
      await holder.query('ROLLBACK');
      s.equal((await impatient.publish(topic, recordsOf('A', 1))).length, 1, 'the next call finds it mended');

      const joined = await bus().join({ topic, group: 'g', member: 'm' });
      await joined.leave();
      await rejectsWith(s, 'unreachable', () => joined.next(1, 0), /closed/);
    });

    await t.test('a call that waits ends with the bus', async (s) => {
      const { bus, topic, client } = await harnessOf(s, server);
      const closing = bus();
      const session = await client();
      const member = await closing.join({ topic, group: 'g', member: 'm' });
      const waiting = member.next(10, 600_000);
      waiting.catch(() => {});
      await until('it waits', async () => (await session.query('SELECT FROM bus_waits')).rowCount === 1);
      await closing.close();
      await rejectsWith(s, 'unreachable', () => waiting);
      await closing.close();
    });

    await t.test('a position beyond a log that was made anew is no reason to wait for ever', async (s) => {
      const { bus, topic, said } = await harnessOf(s, server);
      await bus().publish(topic, recordsOf('A', 5));
      const reader = await bus().openPartition({
        topic,
        group: 'g',
        member: 'm',
        partition: 0,
        after: '700',
      });
      s.same(idsOf(await readAll(reader, 5)), idsOf(recordsOf('A', 5)));
      s.match(said[0], { level: 'error', fields: { position: '700', end: '4' } });
    });

    await t.test('whoever may read the list of segments may read what is made later', async (s) => {
      const { bus, topic, url, client } = await harnessOf(s, server);
      const session = await client();
      const role = `reader_${randomUUID().slice(0, 8)}`;
      await session.query(`CREATE ROLE ${role} LOGIN PASSWORD 'x'`);
      try {
        await session.query(`GRANT SELECT ON bus_logs, bus_segments TO ${role}`);
        await bus().publish(topic, recordsOf('A', 3));
        const asReader = await withClient(url, async (reader) => {
          await reader.query(`SET ROLE ${role}`);
          return reader.query('SELECT event_id FROM bus_read($1, 0, 0, 100, 100, 1000000)', [topic]);
        });
        s.equal(asReader.rowCount, 3);
      } finally {
        await session.query(`DROP OWNED BY ${role}; DROP ROLE ${role}`);
      }
    });
  });
}
