import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chown, mkdir, rename, stat, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Client } from 'pg';
import type { Daemon } from '../../../support/chain/daemon.ts';
import type { ChainSpec } from '../../../support/chain/content/expected.ts';
import { isConnectionLoss } from '../../../support/chain/content/oracle.ts';
import type { TestPostgres } from '../../../support/servers/postgres.ts';
import { withIngester, type IngestHarness } from '../../../support/chain/harness.ts';
import { smallDisk, type SmallDisk } from '../../../support/servers/small-disk.ts';
import { watched } from '../../../support/chain/watch.ts';
import { mebibytes, seconds, Skipped, type Figures, type ScenarioContext } from '../../harness.ts';

export interface DiskSize {
  /** it grows all the while */
  spec: ChainSpec;
  /** how often the disk is filled and freed */
  rounds: number;
  /** how long it stays full */
  fullMs: number;
}

/** What the server of these scenarios needs: each segment of its log is a new file. */
export const DISK_SETTINGS = {
  synchronous_commit: 'on',
  max_wal_size: '64MB',
  min_wal_size: '32MB',
  wal_recycle: 'off',
};

const DISK_FULL = '53100';
const DISK_BYTES = 512 * 2 ** 20;
/** so much is written before it is full */
const LEAVE_BYTES = 6 * 2 ** 20;

/**
 * The disk with the tables fills up: 53100 for every batch. Nothing becomes a dead letter, and it goes on when somebody
 * has made room.
 */
export async function survivesFullDisk(
  context: ScenarioContext,
  server: TestPostgres,
  size: DiskSize,
): Promise<Figures> {
  return onSmallDisk(server, async (disk) => {
    const databaseUrl = await context.database();
    await moveDatabase(databaseUrl, disk.folder);
    let refused = 0;
    const { ticks, full, looks } = await fillsAndFrees(
      context,
      databaseUrl,
      size,
      async (harness, daemon) => {
        const from = daemon.log.length;
        await disk.fill(LEAVE_BYTES);
        await daemon.logged((line) => line['sqlstate'] === DISK_FULL, { from, deadlineMs: 120_000 });
        await staysFull(harness, daemon, size.fullMs);
        refused += daemon.log.slice(from).filter((line) => line['sqlstate'] === DISK_FULL).length;
        await disk.release();
      },
    );
    return {
      ticks,
      full: `${full}, ${mebibytes(DISK_BYTES)}`,
      'batches refused with 53100': refused,
      looks,
    };
  });
}

/** The daemon waits for an operator's room and says so; it neither ends nor gives up a tick. */
async function staysFull(harness: IngestHarness, daemon: Daemon, fullMs: number): Promise<void> {
  await daemon.untilReady('database');
  await delay(fullMs);
  assert.equal(daemon.exit, null, daemon.tail());
  assert.equal((await daemon.get('/health'))?.code, 200, 'waiting for room is healthy');
  // little of it: a reader, too, may have to write out what others have left in memory, and is refused then
  const { rows } = await harness.reading((client) => client.query('SELECT FROM dead_letters LIMIT 1'));
  assert.equal(rows.length, 0, 'an outage makes no dead letters');
}

/**
 * The disk with the server's log of changes fills up: the server ends itself (PANIC) and cannot start before somebody
 * has made room.
 */
export async function survivesFullLogDisk(
  context: ScenarioContext,
  server: TestPostgres,
  size: DiskSize,
): Promise<Figures> {
  return onSmallDisk(server, async (disk) => {
    const databaseUrl = await context.database();
    await moveLog(server, disk.folder);
    return fillsAndFrees(context, databaseUrl, size, async (harness, daemon) => {
      await disk.fill(0);
      // what is left of a segment would last a while; the server may end itself before it answers
      await harness
        .client()
        .then((client) => client.query('SELECT pg_switch_wal()'))
        .catch((error: unknown) => assert.ok(isConnectionLoss(error), String(error)));
      await daemon.untilReady('database', 120_000);
      await harness.dropClient();
      await delay(size.fullMs);
      await server.halt('immediate');
      assert.equal(daemon.exit, null, daemon.tail());
      await disk.release();
      await server.start();
    });
  });
}

/** The disk is filled and freed by `fillAndFree` again and again; the same daemon goes on each time. */
async function fillsAndFrees(
  context: ScenarioContext,
  databaseUrl: string,
  { spec, rounds, fullMs }: DiskSize,
  fillAndFree: (harness: IngestHarness, daemon: Daemon) => Promise<void>,
): Promise<{ ticks: number; full: string; looks: number }> {
  return withIngester({ databaseUrl, spec, count: null }, async (harness) => {
    const daemon = harness.daemon();
    await harness.untilItGoesOn(daemon);
    const { looks } = await watched(harness, async () => {
      for (let round = 0; round < rounds; round++) {
        await fillAndFree(harness, daemon);
        await harness.untilItGoesOn(daemon);
        await harness.compareNext();
        context.say(`full and freed ${round + 1} times, position ${await harness.position()}`);
      }
      return {};
    });
    await daemon.untilReady('ready');
    await harness.settle(daemon);
    const { ticks } = await harness.verify();
    return { ticks, full: `${rounds} times for ${seconds(fullMs)}`, looks };
  });
}

async function onSmallDisk(
  server: TestPostgres,
  work: (disk: SmallDisk) => Promise<Figures>,
): Promise<Figures> {
  const disk = await smallDisk(DISK_BYTES, join(server.dataDir, 'pgdata'));
  if (typeof disk === 'string') throw new Skipped(disk);
  try {
    return await work(disk);
  } finally {
    // the server has files open there
    await server.stop();
    await disk.close();
  }
}

async function moveDatabase(url: string, folder: string): Promise<void> {
  const maintenance = new URL(url);
  const name = maintenance.pathname.slice(1);
  maintenance.pathname = '/postgres';
  const client = new Client({ connectionString: maintenance.href });
  await client.connect();
  const place = join(folder, 'tables');
  const { uid, gid } = await stat(folder);
  await mkdir(place);
  await chown(place, uid, gid);
  try {
    await client.query(`CREATE TABLESPACE small LOCATION '${place}'`);
    await client.query(`ALTER DATABASE ${name} SET TABLESPACE small`);
  } finally {
    await client.end();
  }
}

async function moveLog(server: TestPostgres, folder: string): Promise<void> {
  await server.halt('fast');
  const log = join(server.dataDir, 'pgdata', 'pg_wal');
  await promisify(execFile)('cp', ['-a', log, folder]); // with its owner
  await rename(log, `${log}.before`);
  await symlink(join(folder, 'pg_wal'), log);
  await server.start();
}
