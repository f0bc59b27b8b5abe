import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type Test } from 'tap';
import { exportDatabase, insertTicks } from '../../../support/export/export-database.ts';
import {
  noBuckets,
  refusing,
  startGcs,
  startS3,
  type BucketServer,
} from '../../../support/servers/buckets.ts';
import { sharedPostgres } from '../../../support/servers/postgres.ts';

const BUCKET = 'history';
/** some 40 MB of CSV: three parts */
const TICKS = 400_000;

process.env['AWS_ACCESS_KEY_ID'] = 'test';
process.env['AWS_SECRET_ACCESS_KEY'] = 'test';
process.env['AWS_REGION'] = 'us-east-1';
process.env['AWS_MAX_ATTEMPTS'] = '1';

interface Cloud {
  scheme: 's3' | 'gs';
  start(): Promise<BucketServer>;
  /** where the libraries look for the server */
  variable: 'AWS_ENDPOINT_URL' | 'STORAGE_EMULATOR_HOST';
  /** a request that sends a later part of an object */
  isLaterPart(method: string, url: string): boolean;
}

let gcsPuts = 0;
const CLOUDS: readonly Cloud[] = [
  {
    scheme: 's3',
    start: () => startS3(BUCKET),
    variable: 'AWS_ENDPOINT_URL',
    isLaterPart: (_, url) => url.includes('partNumber=2'),
  },
  {
    scheme: 'gs',
    start: () => startGcs(BUCKET),
    variable: 'STORAGE_EMULATOR_HOST',
    isLaterPart(method, url) {
      if (method === 'PUT' && url.includes('big.csv') && !url.includes('manifest')) gcsPuts += 1;
      return gcsPuts > 1;
    },
  },
];

for (const cloud of CLOUDS) {
  void test(`exports to ${cloud.scheme}://`, { skip: noBuckets() }, async (t) => {
    const postgres = await sharedPostgres();
    t.teardown(() => postgres.stop());
    const server = await cloud.start();
    t.teardown(() => server.stop());
    process.env[cloud.variable] = server.url;
    const database = await exportDatabase(t, await postgres.createDatabase());
    await insertTicks(database.client, { count: TICKS });

    await t.test('an object of several parts is the file, byte for byte', async (t) => {
      await database.export('big.csv');
      const report = await database.export(`${cloud.scheme}://${BUCKET}/deep/big.csv`);
      const object = await server.object(BUCKET, 'deep/big.csv');
      t.ok((object?.length ?? 0) > 32 * 1024 * 1024);
      t.ok(object?.equals(await readFile(join(database.folder, 'big.csv'))));
      t.equal(digestOf(object), report.manifest?.files[0].sha256);
      const manifest = await server.object(BUCKET, 'deep/big.csv.manifest.json');
      t.strictSame(JSON.parse(manifest?.toString() ?? ''), report.manifest);
      const { rows } = await database.client.query<{ output: string }>(
        "SELECT metadata->>'output' AS output FROM job_runs ORDER BY id DESC LIMIT 1",
      );
      t.equal(rows[0].output, `${cloud.scheme}://${BUCKET}/deep/big.csv`);
    });

    await t.test('increments find the manifest in the bucket; datasets have their folders', async (t) => {
      const options = { isIncremental: true };
      const place = `${cloud.scheme}://${BUCKET}/inc/t.parquet`;
      await database.export(place, { symbols: ['NVDA'], options });
      await insertTicks(database.client, { count: 3, symbols: ['NVDA'], from: '2025-02-01' });
      t.match(await database.export(place, { symbols: ['NVDA'], options }), {
        rows: 3,
        manifest: { part: 1 },
      });
      t.ok(await server.object(BUCKET, 'inc/t.part-0001.parquet'));
      await database.export(`${cloud.scheme}://${BUCKET}/set`, {
        partitionBy: ['day', 'symbol'],
        symbols: ['NVDA'],
      });
      t.ok(await server.object(BUCKET, 'set/day=2025-02-01/symbol=NVDA/part-0000.parquet'));
    });

    await t.test('a bucket that is not there is said', async (t) => {
      const failed = database.export(`${cloud.scheme}://nowhere/t.csv`);
      await t.rejects(failed, { name: 'TargetError', message: /there is no such bucket/ });
      await t.rejects(database.export(`${cloud.scheme}://${BUCKET}`, { form: 'csv' }), {
        message: /names no object/,
      });
    });

    await t.test('a bucket that refuses half-way has no object', async (t: Test) => {
      const proxy = await refusing(server.url, (method, url) => cloud.isLaterPart(method, url));
      t.teardown(() => proxy.stop());
      process.env[cloud.variable] = proxy.url;
      await t.rejects(database.export(`${cloud.scheme}://${BUCKET}/half/big.csv`), { name: 'TargetError' });
      t.ok(proxy.refused() > 0);
      t.equal(await server.object(BUCKET, 'half/big.csv'), null);
      t.equal(await server.object(BUCKET, 'half/big.csv.manifest.json'), null);
    });
  });
}

function digestOf(bytes: Buffer | null): string {
  return createHash('sha256')
    .update(bytes ?? '')
    .digest('hex');
}
