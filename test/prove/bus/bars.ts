import assert from 'node:assert/strict';
import type { Client } from 'pg';
import { INBOX, type StreamBus } from '../../../src/bus/bus.ts';
import { acceptEvent } from '../../../src/core/market/accept.ts';
import { NO_PROVIDERS } from '../../../src/core/market/identity/providers.ts';
import { assertRecomputed } from '../../support/bars/recomputed.ts';
import type { Program } from '../../support/run/program.ts';
import { until } from '../../support/until.ts';
import { TOPIC, type BusHarness } from './harness.ts';

/** the seed's own group of the micro-batcher */
export const BARS_GROUP = 'mdp-consumers';
const STANDSTILL_MS = 60_000;
const POLL_MS = 100;

/**
 * Makes bars of all that is on the bus, and compares every final one with what the tick consumer, which has acknowledged
 * everything, stored. Returns how many there are.
 */
export async function barsEqualTickData(harness: BusHarness): Promise<number> {
  const batcher = harness.program(['micro-batch', '--consumer', 'bars', '--metrics-port', '0']);
  await untilBarsDone(harness, [batcher]);
  assert.equal(await batcher.stop(), 0, batcher.tail);
  const compared = await finalBarsEqual(harness);
  assert.ok(compared > 0, 'there are no bars to compare');
  return compared;
}

/** Compares only. What is a dead letter `too_late` is stored, and in no bar. */
export async function finalBarsEqual(harness: BusHarness, windowMs = 2_000): Promise<number> {
  const letters = [...(await harness.deadLetters()).values()];
  const turnedAway = letters
    .filter(({ reason }) => reason === 'too_late')
    .flatMap(({ raw, encoding }) => {
      const bytes = Buffer.from(String(raw), 'base64');
      const event = acceptEvent(bytes, encoding === 'msgpack' ? 'msgpack' : 'json', Date.now(), NO_PROVIDERS);
      if (event.kind === 'refused') return [];
      return [{ provider: event.provider, symbol: event.symbol, srcUs: Number(event.srcTs) }];
    });
  return assertRecomputed(harness.client, { windowMs, turnedAway });
}

/**
 * Everything is read and acknowledged by all groups that there are, every window is closed, and every correction is made.
 * Members must live meanwhile. @param series how many pairs of provider and symbol there are; null: it does not matter
 */
export async function untilBarsDone(
  { bus, client }: Pick<BusHarness, 'bus' | 'client'>,
  members: readonly Program[],
  series: number | null = null,
): Promise<void> {
  await untilState('everything is read, closed and corrected', members, async () => {
    const groups = await groupsBehind(bus);
    const counts = await barsCounts(client);
    const isDone =
      groups[BARS_GROUP] !== undefined &&
      Object.values(groups).every((behind) => behind.length === 0) &&
      (series === null || counts.series === series) &&
      counts.open + counts.marks + counts.contested === 0;
    return { isDone, state: { ...counts, groups } };
  });
}

/** Of each group the partitions that it has not acknowledged up to their end. */
export async function groupsBehind(bus: StreamBus): Promise<Record<string, string[]>> {
  // the inbox is no partition: what it holds has to be moved before anybody reads it
  const infos = (await bus.groups(TOPIC)).filter(({ partition }) => partition !== INBOX);
  const behind: Record<string, string[]> = Object.fromEntries(infos.map(({ group }) => [group, []]));
  for (let partition = 0; partition < bus.partitions(TOPIC); partition += 1) {
    const end = await bus.end(TOPIC, partition);
    if (end === null) continue;
    for (const [group, partitions] of Object.entries(behind)) {
      const own = infos.find((info) => info.group === group && info.partition === partition);
      const read = own?.acknowledged ?? null;
      if (read === null || bus.compare(read, end) < 0) partitions.push(`${partition}: ${read} of ${end}`);
    }
  }
  return behind;
}

/** Members must live meanwhile. */
export async function untilState(
  what: string,
  members: readonly Program[],
  look: () => Promise<{ isDone: boolean; state: unknown }>,
): Promise<void> {
  let last = '';
  await until(
    what,
    async () => {
      for (const { end, tail } of members) assert.equal(end, null, tail);
      const { isDone, state } = await look();
      last = JSON.stringify(state);
      return isDone;
    },
    {
      deadlineMs: STANDSTILL_MS,
      pollMs: POLL_MS,
      progress: () => last,
      context: () => [last, ...members.map(({ tail }) => tail)].join('\n'),
    },
  );
}

type Counts = Record<'series' | 'open' | 'marks' | 'contested', number>;

async function barsCounts(client: Client): Promise<Counts> {
  const { rows } = await client.query<Counts>(
    `SELECT (SELECT count(*)::int FROM bars_watermarks WHERE replay_run_id = 0) AS series,
       (SELECT count(*)::int FROM bars_watermarks WHERE closed_end <= max_ts) AS open,
       (SELECT count(*)::int FROM bars_late_windows) AS marks,
       (SELECT count(*)::int FROM contested_minutes WHERE tx >= (SELECT min(contested_from) FROM bars_partitions)) AS contested`,
  );
  return rows[0];
}
