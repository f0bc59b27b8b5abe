import assert from 'node:assert/strict';
import type { Client } from 'pg';
import { registerQuality } from '../../../../../../src/run/cli/chain/quality.ts';
import { runInProcess, type Outcome } from '../../../../../support/run/command-in-process.ts';
import {
  chainSpec,
  expectedTicks,
  type ExpectedTick,
} from '../../../../../support/chain/content/expected.ts';
import { openClient } from '../../../../../support/chain/content/oracle.ts';
import type { OpenTestServer } from '../../../../../support/servers/postgres.ts';
import {
  beginChain,
  storeFrames,
  type StoredFrame,
} from '../../../../../support/chain/content/stored-chain.ts';
import { malformed, wireTick } from '../../../../../support/chain/content/wire.ts';

/** Stored chains for the tests of mdp quality, and what it says of them. */

const FIRST = 1000n;
const COUNT = 400;
export const CHAIN = [...expectedTicks(chainSpec({ seed: 51, txs: 2, first: FIRST, hostile: true }), COUNT)];
const LAST = FIRST + BigInt(COUNT) - 1n;

/** number → what the store has of it instead */
export type Absent = 'open' | 'unfillable' | 'skipped' | 'letter' | 'unnumbered';

interface Json {
  ok: boolean;
  problems: string[];
  range: { first: string; last: string } | null;
  times: { first: string; last: string } | null;
  expected: string;
  stored: string;
  transactions: number;
  missing: Record<
    string,
    { severity: string; ticks: string; ranges: number; first: { first: string; last: string }[] }
  >;
  findings: Record<string, { severity: string; count: number; first: string[] }>;
  chain_alarms: Record<string, { severity: string; count: number; first: string[] }>;
  dead_letters: { reason: string; status: string; numbered: boolean; count: number; first: string[] }[];
}

export function quality(url: string | undefined, ...args: string[]): Promise<Outcome> {
  const clock = { nowMicros: () => 0n, monotonicMs: () => 0 };
  return runInProcess((program) => registerQuality(program, { databaseUrl: url, clock }), 'quality', ...args);
}

export async function judge(url: string, ...args: string[]): Promise<Json & { code: number }> {
  const { code, out, err } = await quality(url, '--json', ...args);
  assert.notEqual(out, '', err);
  const json = JSON.parse(out) as Json;
  assert.equal(json.ok, code === 0);
  assert.equal(err, code === 0 ? '' : `mdp quality: found ${json.problems.join(', ')}\n`);
  return { ...json, code };
}

/** What was found, without what was looked for in vain. */
export function foundIn({ missing, findings, chain_alarms: alarms }: Json): Record<string, string> {
  const entries = [
    ...Object.entries(missing).map(([name, { ticks, first }]) => [
      `missing.${name}`,
      ticks,
      first.map((range) => (range.first === range.last ? range.first : `${range.first}..${range.last}`)),
    ]),
    ...Object.entries({ ...findings, ...alarms }).map(([name, { count, first }]) => [
      name,
      `${count}`,
      first,
    ]),
  ] as [string, string, string[]][];
  return Object.fromEntries(
    entries
      .filter(([, count]) => count !== '0')
      .map(([name, count, first]) => [name, `${count}: ${first.join(' ')}`]),
  );
}

function tick(number: number): ExpectedTick {
  const found = CHAIN[number - Number(FIRST)];
  assert.ok(found !== undefined);
  return found;
}

/** Its timestamp, ISO-8601. */
export function time(number: number): string {
  const micros = `${tick(number).timestamp}`;
  return `${new Date(Number(micros.slice(0, -3))).toISOString().slice(0, -1)}${micros.slice(-3)}Z`;
}

/** The chain in batches of 50, gaps and dead letters as the daemon leaves them. */
export async function storeChain(client: Client, absent: Record<number, Absent> = {}): Promise<void> {
  await beginChain(client, FIRST);
  for (let first = Number(FIRST); first <= Number(LAST);) {
    const gaps: { first: bigint; last: bigint }[] = [];
    while (isGap(absent[first])) {
      gaps.push({ first: BigInt(first), last: BigInt(first) });
      first += 1;
    }
    const frames: StoredFrame[] = [];
    let next = first;
    for (; next <= Number(LAST) && frames.length < 50 && !isGap(absent[next]); next += 1) {
      frames.push({
        raw: absent[next] === 'letter' ? malformed(tick(next), 'batch-hash') : wireTick(tick(next)),
      });
    }
    if (absent[next] === 'unnumbered') frames.push({ raw: Buffer.from([0x7f]), unnumbered: true });
    await storeFrames(client, BigInt(first), frames, { gaps });
    first = next;
  }
  for (const [number, state] of Object.entries(absent)) {
    if (state === 'unfillable' || state === 'skipped') {
      await client.query('SELECT ingest_close_gaps($1, $1, $2, NULL)', [number, state]);
    }
  }
}

function isGap(absent: Absent | undefined): boolean {
  return absent !== undefined && absent !== 'letter';
}

export async function openStore(
  t: { teardown: (work: () => unknown) => void },
  server: OpenTestServer,
): Promise<{ url: string; client: Client }> {
  const url = await server.createDatabase();
  const client = await openClient(url);
  t.teardown(() => client.end());
  return { url, client };
}

/** One tick of each cause, two of an open gap. */
export const ABSENT: Record<number, Absent> = {
  1210: 'open',
  1211: 'open',
  1225: 'unfillable',
  1230: 'skipped',
  1240: 'letter',
  1250: 'unnumbered',
};
