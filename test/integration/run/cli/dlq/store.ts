import assert from 'node:assert/strict';
import type { Client } from 'pg';
import type { Test } from 'tap';
import { registerDlq } from '../../../../../src/run/cli/dlq/dlq.ts';
import { runInProcess, type Outcome } from '../../../../support/run/command-in-process.ts';
import {
  batchHashOf,
  chainSpec,
  expectedTicks,
  vdfInputOf,
  vdfOutputOf,
  type ExpectedTick,
} from '../../../../support/chain/content/expected.ts';
import { openClient } from '../../../../support/chain/content/oracle.ts';
import type { OpenTestServer } from '../../../../support/servers/postgres.ts';
import { beginChain, type StoredFrame } from '../../../../support/chain/content/stored-chain.ts';
import { malformed, wireTick } from '../../../../support/chain/content/wire.ts';

/** A store for each test of mdp dlq, filled by hand, and the chain that it is filled from. */

export const NOW = BigInt(Date.parse('2026-01-01T00:00:00Z')) * 1000n;
const SPEC = chainSpec({ seed: 41, txs: 2, hostile: true });
export const COUNT = 40;
export const CHAIN = [...expectedTicks(SPEC, COUNT)];

export interface Store {
  url: string;
  client: Client;
  dlq(...args: string[]): Promise<Outcome>;
  /** the same with another TICK_MAX_BYTES, or at another time */
  dlqWith(settings: { tickBytesMax?: number }, ...args: string[]): Promise<Outcome>;
  /** ids of dead letters by the number they stand for */
  ids(): Promise<Map<number, string>>;
}

export function tick(number: number): ExpectedTick {
  const found = CHAIN[number - 1];
  assert.ok(found !== undefined && found.tickNumber === BigInt(number));
  return found;
}

export function frame(number: number, form?: string): StoredFrame {
  return { raw: form === undefined ? wireTick(tick(number)) : malformed(tick(number), form) };
}

/** Ticks first to last; those named in `bad` in another form. */
export function frames(first: number, last: number, bad: Record<number, StoredFrame> = {}): StoredFrame[] {
  return Array.from({ length: last - first + 1 }, (_, at) => bad[first + at] ?? frame(first + at));
}

export async function openStore(t: Test, server: OpenTestServer): Promise<Store> {
  const url = await server.createDatabase();
  const client = await openClient(url);
  t.teardown(() => client.end());
  await beginChain(client, 1n);
  const dlqWith: Store['dlqWith'] = ({ tickBytesMax = 4 * 2 ** 20 }, ...args) => {
    const clock = { nowMicros: () => NOW, monotonicMs: () => 0 };
    const env = { databaseUrl: url, tickBytesMax: () => tickBytesMax, clock };
    return runInProcess((program) => registerDlq(program, env), 'dlq', ...args);
  };
  return {
    url,
    client,
    dlqWith,
    dlq: (...args) => dlqWith({}, ...args),
    async ids() {
      const { rows } = await client.query<{ id: string; n: string }>(
        'SELECT dead_letter_id AS id, coalesce(after_tick + 1, tick_number) AS n FROM dead_letters',
      );
      return new Map(rows.map(({ id, n }) => [Number(n), id]));
    },
  };
}

/** A frame without a usable number, as an earlier version of the program kept it. */
export async function insertUnnumbered(client: Client, raw: Uint8Array, afterTick: number): Promise<string> {
  const { rows } = await client.query<{ id: string }>(
    `INSERT INTO dead_letters (after_tick, reason, detail, raw, raw_sha256)
     VALUES ($1, 'malformed_frame', 'an earlier version could not read it', $2, sha256($2)) RETURNING dead_letter_id AS id`,
    [afterTick, raw],
  );
  return rows[0]?.id ?? '';
}

export async function insertNumbered(
  client: Client,
  raw: Uint8Array,
  number: number,
  reason: string,
): Promise<string> {
  const { rows } = await client.query<{ id: string }>(
    `INSERT INTO dead_letters (tick_number, reason, detail, sqlstate, raw, raw_sha256, stored_sha256)
     VALUES ($1, $3, 'put here by a test', $4, $2, sha256($2), $5) RETURNING dead_letter_id AS id`,
    [
      number,
      raw,
      reason,
      reason === 'refused_by_database' ? '22021' : null,
      reason === 'conflict' ? Buffer.alloc(32, 7) : null,
    ],
  );
  return rows[0]?.id ?? '';
}

/** A tick that says something else under the same number, all hashes right. */
export function rewritten(number: number): ExpectedTick {
  const original = tick(number);
  const [first, ...others] = original.transactions;
  assert.ok(first !== undefined);
  const transactions = others;
  const batchHash = batchHashOf(transactions);
  const input = vdfInputOf(original.previousOutput, batchHash, original.tickNumber);
  return { ...original, transactions, batchHash, input, output: vdfOutputOf(input, 0n) };
}

export function objects(out: string): Record<string, unknown>[] {
  return out
    .trimEnd()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}
