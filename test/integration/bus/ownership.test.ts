import { testEnv } from '../../support/bus/env.ts';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual } from 'node:util';
import { test, type Test } from 'tap';
import type { Client } from 'pg';
import { BusError } from '../../../src/bus/bus.ts';
import { Ownership, type OwnershipOptions } from '../../../src/bus/ownership.ts';
import {
  claimGroup,
  commitPosition,
  forgetGroup,
  makePartitions,
  releasePartition,
  renewLeases,
  takePartition,
  type TakenPartition,
} from '../../../src/store/bus/partitions.ts';
import { connect, parseDatabaseUrl } from '../../../src/store/postgres/connect.ts';
import { connectDurable } from '../../../src/store/postgres/session.ts';
import { migrateAll } from '../../support/bus/postgres-bus.ts';
import { testServers, type OpenTestServer } from '../../support/servers/postgres.ts';
import { until } from '../../support/until.ts';

const NAME = { topic: 'mdp.events', group: 'g' };
const PARTITIONS = 4;
const program = fileURLToPath(new URL('ownership-child.ts', import.meta.url));

interface Member {
  process: ChildProcess;
  said: { what: string; partition: number }[];
  exit: Promise<unknown>;
}

interface Harness {
  url: string;
  client: () => Promise<Client>;
  member: (name: string) => Member;
  /** holders of the living leases, by partition */
  holders: () => Promise<(string | null)[]>;
}

async function harnessOf(t: Test, server: OpenTestServer): Promise<Harness> {
  const url = await server.createDatabase({ schema: false });
  await migrateAll(url);
  const client = async (): Promise<Client> => {
    const opened = await connect(parseDatabaseUrl(url), { applicationName: 'test' });
    t.teardown(() => opened.end().catch(() => {}));
    return opened;
  };
  const watch = await client();
  await watch.query('CREATE TABLE work (partition int, n bigint, member text, PRIMARY KEY (partition, n))');
  return {
    url,
    client,
    member(name) {
      const child = spawn(process.execPath, [program, url, name, String(PARTITIONS)], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      t.teardown(() => child.kill('SIGKILL'));
      const said: Member['said'] = [];
      createInterface(child.stdout).on('line', (line) => said.push(JSON.parse(line) as Member['said'][0]));
      return { process: child, said, exit: once(child, 'exit') };
    },
    async holders() {
      const { rows } = await watch.query<{ holder: string | null }>(
        'SELECT CASE WHEN lease_expires_at > clock_timestamp() THEN holder END AS holder FROM bus_partitions ORDER BY partition',
      );
      return rows.map(({ holder }) => holder);
    },
  };
}

function sizes(holders: readonly (string | null)[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const holder of holders) counts[holder ?? 'nobody'] = (counts[holder ?? 'nobody'] ?? 0) + 1;
  return counts;
}

for (const candidate of testServers()) {
  void test(`owned partitions on the ${candidate.name} server`, { skip: candidate.skip }, async (t) => {
    const server = await candidate.open();
    t.teardown(() => server.close());

    await t.test('members share fairly; a killed, a frozen and a leaving one are replaced', async (s) => {
      const { member, holders, client } = await harnessOf(s, server);
      const settles = async (what: string, expected: Record<string, number>): Promise<void> => {
        await until(
          what,
          async () => {
            const counts = sizes(await holders());
            return isDeepStrictEqual(counts, expected);
          },
          { context: async () => JSON.stringify(await holders()) },
        );
      };
      const a = member('a');
      await settles('one has all', { a: 4 });
      const b = member('b');
      await settles('two have two', { a: 2, b: 2 });
      const c = member('c');
      const d = member('d');
      await settles('four have one', { a: 1, b: 1, c: 1, d: 1 });
      s.ok(a.said.filter(({ what }) => what === 'drained').length === 3, 'what a gave away it had drained');
      s.ok(
        !a.said.some(({ what }) => what === 'refused' || what === 'lost'),
        'and nothing was taken from it',
      );

      b.process.kill('SIGKILL');
      await b.exit;
      await until('the three have all', async () => {
        const counts = sizes(await holders());
        return (
          counts['b'] === undefined && counts['nobody'] === undefined && Object.keys(counts).length === 3
        );
      });

      c.process.kill('SIGSTOP');
      const watch = await client();
      await until('the others have what the frozen one had', async () => {
        const counts = sizes(await holders());
        return counts['c'] === undefined && counts['nobody'] === undefined;
      });
      // and work there
      const before = await watch.query<{ n: string }>('SELECT sum(n) AS n FROM work');
      await until('they go on', async () => {
        const { rows } = await watch.query<{ n: string }>('SELECT sum(n) AS n FROM work');
        return Number(rows[0].n) > Number(before.rows[0].n) + 40;
      });
      c.process.kill('SIGCONT');
      await until(
        'it learns that it was replaced',
        () => c.said.some(({ what }) => what === 'refused' || what === 'failed'),
        { context: () => JSON.stringify(c.said) },
      );
      await until('and gets its share again', async () => sizes(await holders())['c'] === 1);

      const held = (await holders()).filter((holder) => holder === 'a').length;
      s.ok(held > 0);
      a.process.kill('SIGTERM');
      await a.exit;
      const left = await watch.query("SELECT FROM bus_partitions WHERE holder = 'a'");
      s.equal(left.rowCount, 0, 'it left no lease behind that must run out');
      await settles('two have two again', { c: 2, d: 2 });
      for (const { process: child, exit } of [c, d]) {
        child.kill('SIGTERM');
        await exit;
      }

      const { rows } = await watch.query<{ partition: number; n: string; last: string; position: string }>(
        `SELECT w.partition, count(*) AS n, max(w.n) AS last, max(p."position") AS position
           FROM work w JOIN bus_positions p ON p.partition = w.partition GROUP BY w.partition ORDER BY w.partition`,
      );
      s.equal(rows.length, PARTITIONS);
      for (const row of rows) {
        s.equal(row.n, row.last, `partition ${row.partition}: every position once, by whoever owned it`);
        s.equal(row.position, row.last);
      }
    });

    await t.test('a takeover waits for the transaction of the old owner, which still counts', async (s) => {
      const { client } = await harnessOf(s, server);
      const { old, fresh, owned } = await expired(client);
      await old.query('BEGIN');
      await commitPosition(old, NAME, owned, '7');
      const taking = takeAgain(fresh, 'new');
      const watch = await client();
      await until('it waits for the fence', async () => {
        const { rowCount } = await watch.query(
          `SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
        );
        return rowCount === 1;
      });
      await old.query('COMMIT');
      const taken = await taking;
      s.equal(taken?.position, '7');
      s.ok((taken?.epoch ?? 0n) > owned.epoch);
      await s.rejects(commitPosition(old, NAME, owned, '8'), { code: 'MDF01' });
      await s.resolves(commitPosition(fresh, NAME, taken!, '8'));
    });

    await t.test('a frozen owner in an open transaction is ended, and what it wrote is gone', async (s) => {
      const { client } = await harnessOf(s, server);
      const { old, fresh, owned } = await expired(client);
      await commitPosition(old, NAME, owned, '3');
      await old.query('BEGIN');
      await commitPosition(old, NAME, owned, '4');
      await old.query("INSERT INTO work VALUES (0, 4, 'old')");
      const taken = await takeAgain(fresh, 'new');
      s.equal(taken?.position, '3');
      await s.rejects(old.query('COMMIT'));
      const rows = await fresh.query('SELECT FROM work');
      s.equal(rows.rowCount, 0);
    });

    await t.test(
      'a late commit is refused, also one whose transaction began before the takeover',
      async (s) => {
        const { client } = await harnessOf(s, server);
        const { old, fresh, owned } = await expired(client);
        await old.query('BEGIN');
        await old.query("INSERT INTO work VALUES (0, 1, 'old')"); // a snapshot and a transaction id
        const taken = await takeAgain(fresh, 'new');
        await s.rejects(commitPosition(old, NAME, owned, '1'), { code: 'MDF01' });
        await old.query('ROLLBACK');
        await s.rejects(
          async () => {
            await old.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
            await commitPosition(old, NAME, taken!, '1');
          },
          { code: '25000' },
          'a snapshot from before would see the old epoch',
        );
      },
    );

    await t.test('of two who take a free partition one has it; epochs never repeat', async (s) => {
      const { client } = await harnessOf(s, server);
      const [one, two] = [await client(), await client()];
      await makePartitions(one, NAME, 1);
      const seen = new Set<bigint>();
      for (let round = 0; round < 10; round++) {
        const { leases } = await renewLeases(one, NAME, 'one', []);
        const taken = await Promise.all([
          takePartition(one, NAME, 'one', leases[0]),
          takePartition(two, NAME, 'two', leases[0]),
        ]);
        const winners = taken.filter((each) => each !== null);
        s.equal(winners.length, 1);
        s.notOk(seen.has(winners[0].epoch));
        seen.add(winners[0].epoch);
        const holder = taken[0] === null ? 'two' : 'one';
        if (round === 5) {
          await forgetGroup(one, NAME);
          await s.rejects(commitPosition(one, NAME, winners[0], '1'), { code: 'MDF01' });
          await makePartitions(one, NAME, 1);
        } else {
          await releasePartition(one, NAME, holder, winners[0]);
        }
      }
    });

    await t.test('a name belongs to one living member; a dead one’s is free at once', async (s) => {
      const { url, member, holders } = await harnessOf(s, server);
      const a = member('a');
      await until('it has all', async () => sizes(await holders())['a'] === PARTITIONS);
      const second = Ownership.start({
        topic: 'mdp.events',
        group: 'g',
        role: 'bars',
        member: 'a',
        partitions: PARTITIONS,
        connect: () => connectDurable(url, 'second'),
        onAssign: () => {},
        onRevoke: () => Promise.resolve(),
        onLost: () => {},
        env: testEnv(),
      });
      await s.rejects(second, /living member a: give each its own name/);
      a.process.kill('SIGKILL');
      await a.exit;
      const again = member('a');
      await until('it has all again', async () => again.said.length === PARTITIONS);
    });

    await t.test('a group belongs to one role', async (s) => {
      const { client, url } = await harnessOf(s, server);
      const session = await client();
      await claimGroup(session, NAME, 'bars');
      await claimGroup(session, NAME, 'bars');
      await claimGroup(session, { ...NAME, topic: 'mdp.signals' }, 'signals');
      await s.rejects(
        claimGroup(session, NAME, 'inference'),
        /group g of mdp.events belongs to the role bars/,
      );
      const options: OwnershipOptions = {
        ...NAME,
        role: 'inference',
        member: 'm',
        partitions: 2,
        connect: () => connectDurable(url, 'm'),
        onAssign: () => {},
        onRevoke: async () => {},
        onLost: () => {},
        env: testEnv(),
      };
      const refused: unknown = await Ownership.start(options).catch((error: unknown) => error);
      s.ok(refused instanceof BusError && refused.kind === 'setup', String(refused));
      await forgetGroup(session, NAME);
      const ownership = await Ownership.start(options);
      await until('it has both', () => ownership.owned.length === 2);
      await ownership.close();
      await ownership.close();
      s.same(ownership.owned, []);
    });

    await t.test('one that does not drain in time gives its partition away all the same', async (s) => {
      const { client, url } = await harnessOf(s, server);
      const said: string[] = [];
      const options = (member: string): OwnershipOptions => ({
        ...NAME,
        role: 'bars',
        member,
        partitions: 2,
        connect: () => connectDurable(url, member),
        onAssign: () => {},
        onRevoke: () => new Promise(() => {}),
        onLost: () => {},
        drainMs: 300,
        env: testEnv({ log: (_level, message) => said.push(message) }),
      });
      const one = await Ownership.start(options('one'));
      await until('it has both', () => one.owned.length === 2);
      const two = await Ownership.start(options('two'));
      await until('shared', () => one.owned.length === 1 && two.owned.length === 1);
      s.ok(said.includes('A partition was not drained in time'));
      await Promise.all([one.close(), two.close()]);
      const session = await client();
      s.equal((await session.query('SELECT FROM bus_partitions WHERE holder IS NOT NULL')).rowCount, 0);
      s.equal((await session.query('SELECT FROM bus_members')).rowCount, 0);
    });
  });
}

/** Partition 0, held by `old`, whose lease is over. */
async function expired(
  client: () => Promise<Client>,
): Promise<{ old: Client; fresh: Client; owned: TakenPartition }> {
  const [old, fresh] = [await client(), await client()];
  await makePartitions(old, NAME, 1);
  const { leases } = await renewLeases(old, NAME, 'old', []);
  const owned = await takePartition(old, NAME, 'old', leases[0]);
  if (owned === null) throw new Error('nobody else was there');
  await fresh.query('UPDATE bus_partitions SET lease_expires_at = clock_timestamp()');
  return { old, fresh, owned };
}

async function takeAgain(client: Client, member: string): Promise<TakenPartition | null> {
  const { leases } = await renewLeases(client, NAME, member, []);
  return takePartition(client, NAME, member, leases[0]);
}
