import assert from 'node:assert/strict';
import { test } from 'tap';
import { isSampled } from '../../../../../src/core/chain/verify/page.ts';
import { chooseFlips } from '../../../../support/chain/content/bit-flips.ts';
import { chainSpec } from '../../../../support/chain/content/expected.ts';
import { openClient } from '../../../../support/chain/content/oracle.ts';
import { startPostgres } from '../../../../support/servers/postgres.ts';
import { seededRandom } from '../../../../support/random.ts';
import { withIngester } from '../../../../support/chain/harness.ts';
import { found, verifyCommand, verifyJson } from '../../../../support/run/verify-command.ts';

/** Stores a chain through the daemon and leaves it as it is. */
async function storeChain(url: string, spec: Parameters<typeof chainSpec>[0], count: number): Promise<void> {
  await withIngester({ databaseUrl: url, spec: chainSpec(spec), count }, async (harness) => {
    const daemon = harness.daemon();
    await harness.untilCaughtUp(daemon);
    await daemon.stop();
  });
}

/** Bad usage: code 2 and one line. */
async function refuses(url: string, args: string[], message: RegExp): Promise<void> {
  const { code, stdout, stderr } = await verifyCommand(url, args);
  assert.equal(code, 2, args.join(' '));
  assert.equal(stdout, '');
  assert.match(stderr, message);
  assert.equal(
    stderr
      .trim()
      .split('\n')
      .filter((line) => !line.startsWith('(Did you mean')).length,
    1,
    stderr,
  );
}

/** Code 1 and one line. */
async function fails(url: string | null, message: RegExp): Promise<void> {
  const { code, stderr } = await verifyCommand(url);
  assert.equal(code, 1);
  assert.match(stderr, message);
  assert.equal(stderr.trim().split('\n').length, 1, stderr);
}

void test('what is missing, and what cannot be asked', async (t) => {
  const server = await startPostgres();
  t.after(() => server.stop());
  const url = await server.createDatabase();
  await storeChain(url, { seed: 83, txs: 1, first: 1000n }, 900);
  const client = await openClient(url);
  t.after(() => client.end());

  await t.test('a range that begins and ends within the chain', async () => {
    const { code, json, stderr } = await verifyJson(url, ['--from', '1101', '--to', '1300']);
    assert.deepEqual([code, stderr], [0, '']);
    assert.deepEqual([json.ok, json.from, json.to, json.ticks], [true, '1101', '1300', 200]);
    const text = await verifyCommand(url, [
      '--from',
      '1500',
      '--to',
      '1500',
      '--vdf',
      'off',
      '--threads',
      '1',
    ]);
    assert.equal(text.code, 0);
    assert.match(text.stdout, /ticks 1500 to 1500: verified 1 ticks and 1 transactions/);
    assert.match(text.stdout, /nothing is missing, nothing is false/);
  });

  await t.test('a sample is always the same, and about its share', async () => {
    const sample = async (from: string, to: string): Promise<number> =>
      (await verifyJson(url, ['--vdf', 'sample:0.25', '--from', from, '--to', to])).json.vdf_outputs;
    const whole = await sample('1000', '1899');
    assert.ok(whole > 150 && whole < 300, `${whole} of 900`);
    assert.equal((await sample('1000', '1399')) + (await sample('1400', '1899')), whole);
    // a false output outside of the sample is found by the link of the next tick, and is no vdf_output
    const quarter = { kind: 'sample', share: 0.25 } as const;
    const left = [...Array(50).keys()]
      .map((n) => 1100 + n)
      .find((tick) => !isSampled(BigInt(tick), quarter))!;
    const turn =
      "UPDATE vdf_proofs SET output = overlay(output placing 'e' from 500 for 1) WHERE tick_number = ";
    const before = await client.query<{ output: string }>(
      `SELECT output FROM vdf_proofs WHERE tick_number = ${left}`,
    );
    await client.query(turn + left);
    const { json } = await verifyJson(url, ['--vdf', 'sample:0.25']);
    await client.query('UPDATE vdf_proofs SET output = $1 WHERE tick_number = $2', [
      before.rows[0].output,
      left,
    ]);
    assert.ok(!found(json).includes(`${left} vdf_output`));
    assert.equal(json.first_bad?.tick, `${left + 1}`);
  });

  await t.test('numbers that are not stored, by what the store says of them', async () => {
    for (const table of ['ticks', 'vdf_proofs', 'tick_transactions']) {
      await client.query(
        `DELETE FROM ${table} WHERE tick_number BETWEEN 1200 AND 1259 OR tick_number IN (1300, 1310)`,
      );
    }
    await client.query('DELETE FROM vdf_proofs WHERE tick_number = 1400');
    await client.query(`INSERT INTO ingest_gaps (first_tick, last_tick, state) VALUES
      (1200, 1209, 'open'), (1210, 1229, 'unfillable'), (1230, 1231, 'skipped'), (1232, 1233, 'filled')`);
    await client.query(`INSERT INTO dead_letters (tick_number, reason, raw, raw_sha256, status) VALUES
      (1240, 'x', '', '', 'open'), (1240, 'x', '', '1', 'open'), (1241, 'x', '', '', 'resolved'), (1300, 'x', '', '', 'open')`);
    const { code, json, stderr } = await verifyJson(url, ['--to', '1000000000000']);
    assert.equal(code, 1);
    assert.equal(json.ticks, 900 - 63);
    assert.deepEqual(json.missing, {
      open_gap: 10,
      unfillable_gap: 20,
      skipped_gap: 2,
      dead_letter: 2,
      not_received: 1_000_000_000_000 - 1899,
      unexplained: 60 - 10 - 20 - 2 - 1 + 1,
    });
    assert.equal(json.kinds['missing'].ticks, 63 + 1_000_000_000_000 - 1899);
    const first = json.first_bad!;
    assert.deepEqual([first.tick, first.last, first.kind], ['1200', '1209', 'missing']);
    assert.match(
      stderr,
      /first bad tick 1200 \(missing\): ticks 1200 to 1209: .* open gap; tick-ingester status/,
    );
    assert.ok(json.findings.some(({ tick, detail }) => tick === '1400' && /none in vdf_proofs/.test(detail)));
    // tick 1401 was linked to an output that is gone, the ticks behind the holes had left theirs out too
    assert.deepEqual(
      found(json).filter((finding) => !finding.endsWith('missing')),
      ['1260', '1301', '1311', '1401'].flatMap((tick) => [`${tick} link`]),
    );
  });

  await t.test('what no formula reaches is not found', async (t) => {
    const clean = await server.createDatabase();
    await storeChain(clean, { seed: 84 }, 1_000);
    const other = await openClient(clean);
    t.after(() => other.end());
    const random = seededRandom();
    t.comment(`SEED=${random.seed}`);
    const options = { random, first: 1n, last: 1_000n, withVdf: true };
    for (const flip of await chooseFlips(other, options, 'unreached')) await flip.apply(other);
    const { code, json } = await verifyJson(clean);
    assert.deepEqual([code, json.ticks, json.findings], [0, 1_000, []]);
  });

  await t.test('READ_DATABASE_URL comes first, and embedded: is found running', async () => {
    const read = await verifyCommand('postgres://nobody@127.0.0.1:1/none', ['--to', '1100'], {
      READ_DATABASE_URL: url,
    });
    assert.deepEqual([read.code, read.stderr], [0, '']);
    const embedded = await verifyCommand(`embedded:${server.dataDir}`);
    assert.equal(embedded.code, 1);
    assert.match(embedded.stderr, /Run first: mdp db migrate/, 'its own database, which is empty');
  });

  await t.test('bad usage is code 2 and one line, an unusable database code 1 and one line', async () => {
    const bad: [string[], RegExp][] = [
      [['--from', '12x'], /--from.*12x.*tick number/],
      [['--to', '9223372036854775808'], /A tick number is 0 to 9223372036854775807/],
      [['--vdf', 'some'], /all, off, or sample:SHARE/],
      [['--vdf', 'sample:0'], /above 0 up to 1/],
      [['--vdf', 'sample:1.5'], /above 0 up to 1/],
      [['--threads', '0'], /1 to 16/],
      [['--form', '1'], /unknown option '--form'/],
      [['--from', '999'], /--from 999 is below 1000/],
      [['--from', '1500', '--to', '1400'], /--to 1400 is below --from 1500/],
    ];
    await Promise.all(bad.map(([args, message]) => refuses(url, args, message)));
    const empty = await server.createDatabase();
    const unusable: [string | null, RegExp][] = [
      [null, /set DATABASE_URL/],
      ['postgres://nobody@127.0.0.1:1/none?sslmode=disable', /Failed to connect to database/],
      [empty, /nothing is recorded yet/],
      [await server.createDatabase(undefined, { schema: false }), /mdp db migrate/],
    ];
    await Promise.all(unusable.map(([url, message]) => fails(url, message)));
    const help = await verifyCommand(null, ['--help']);
    assert.equal(help.code, 0);
    assert.match(help.stdout, /No formula reaches/);
  });
});
