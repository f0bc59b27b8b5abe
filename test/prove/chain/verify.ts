import assert from 'node:assert/strict';
import type { Client } from 'pg';
import { chooseFlips, REACHED_FIELDS, type FlipOptions } from '../../support/chain/content/bit-flips.ts';
import type { ChainSpec } from '../../support/chain/content/expected.ts';
import { withIngester } from '../../support/chain/harness.ts';
import { found, verifyJson, type VerifyJson } from '../../support/run/verify-command.ts';
import type { Figures, ScenarioContext } from '../harness.ts';

export interface VerifySize {
  /** `vdf: 'fast'` is true to the formula too, with 0 iterations; hostile, so that every column is in use */
  spec: ChainSpec;
  count: number;
  /** how often one bit of every field is turned over, at other places each time */
  rounds: number;
}

/**
 * Must show 3 of chain integrity: no alarm over a chain that is stored as it was sent; one bit that is turned over in any
 * field that a formula reaches is found with its tick and kind, and nothing else is.
 */
export async function verifiesStored(
  context: ScenarioContext,
  { spec, count, rounds }: VerifySize,
): Promise<Figures> {
  return withIngester({ databaseUrl: await context.database(), spec, count }, async (harness) => {
    const daemon = harness.daemon();
    await harness.untilCaughtUp(daemon, 900_000);
    await daemon.stop();
    const client = await harness.client();
    // what autovacuum does within a minute
    await client.query('ANALYZE ticks, vdf_proofs, tick_transactions');
    const speeds: Record<string, number> = {};
    for (const vdf of ['off', 'sample:0.01', 'all']) {
      const json = await verifyGood(harness.databaseUrl, count, vdf);
      speeds[vdf] = json.ticks_per_second;
      context.say(`no alarm over ${json.ticks} ticks, --vdf ${vdf}: ${json.ticks_per_second} ticks/s`);
    }
    const range = { random: context.random, first: harness.spec.first, last: harness.last };
    for (let round = 1; round <= rounds; round++) {
      await findsFlips(harness.databaseUrl, client, { ...range, withVdf: true });
      context.say(`round ${round} of ${rounds}: a bit of each of ${REACHED_FIELDS} fields found`);
    }
    await findsFlips(harness.databaseUrl, client, { ...range, withVdf: false });
    await verifyGood(harness.databaseUrl, count, 'off');
    return {
      ticks: count,
      iterations: spec.vdf === 'real' ? 27 : 0,
      'ticks/s, links and hashes': speeds['off'],
      'ticks/s, 1 % of the VDF': speeds['sample:0.01'],
      'ticks/s, full VDF': speeds['all'],
      'bits found': `${rounds * REACHED_FIELDS} of ${rounds * REACHED_FIELDS}`,
    };
  });
}

async function verifyGood(databaseUrl: string, count: number, vdf: string): Promise<VerifyJson> {
  const { code, json, stderr } = await verifyJson(databaseUrl, ['--vdf', vdf]);
  assert.deepEqual(json.findings, [], 'no alarm');
  assert.equal(code, 0, stderr);
  assert.equal(json.ticks, count);
  if (vdf !== 'sample:0.01') assert.equal(json.vdf_outputs, vdf === 'all' ? count : 0);
  return json;
}

/** Turns over one bit of every field at once, each at a tick of its own, and back. */
async function findsFlips(databaseUrl: string, client: Client, options: FlipOptions): Promise<void> {
  const flips = await chooseFlips(client, options);
  for (const flip of flips) await flip.apply(client);
  const { code, json, stderr } = await verifyJson(databaseUrl, ['--vdf', options.withVdf ? 'all' : 'off']);
  const expected = flips.flatMap((flip) => flip.expected).sort(byTick);
  const where = flips.map(({ field, tick }) => `${field} of ${tick}`).join(', ');
  assert.deepEqual(found(json).sort(byTick), expected, where);
  assert.equal(code, 1);
  const first = BigInt(expected[0].split(' ')[0]);
  assert.equal(json.first_bad?.tick, `${first}`);
  assert.match(stderr, new RegExp(`first bad tick ${first} \\(${json.first_bad?.kind}\\)`));
  for (const flip of flips.toReversed()) await flip.undo(client);
}

function byTick(a: string, b: string): number {
  return Number.parseInt(a, 10) - Number.parseInt(b, 10) || (a < b ? -1 : 1);
}
