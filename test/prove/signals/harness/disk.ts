import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from 'pg';
import type { StreamBus } from '../../../../src/bus/bus.ts';

/** Sorted, ms. */
export interface DiskTimes {
  commits: readonly number[];
  publications: readonly number[];
  /** one of each, one after the other */
  both: readonly number[];
}

const TOPIC = 'prove.disk';

/**
 * What this disk takes of every signal: an event that is published, and then a transaction with nothing in it but a record of the
 * log. So often, a round begun every so many ms, by one program that does nothing else.
 */
export async function diskTimes(
  client: Client,
  bus: Pick<StreamBus, 'publish'>,
  { rounds, apartMs }: { rounds: number; apartMs: number },
): Promise<DiskTimes> {
  const record = { key: 'a', eventId: null, data: Buffer.alloc(200, 'x'), encoding: 'json' as const };
  const times = { commits: [] as number[], publications: [] as number[], both: [] as number[] };
  for (let round = 0; round < rounds; round += 1) {
    const beganMs = performance.now();
    await bus.publish(TOPIC, [record]);
    const publishedMs = performance.now();
    // without the record, COMMIT would not wait for the disk
    await client.query("BEGIN; SELECT pg_logical_emit_message(true, 'prove', ''); COMMIT");
    const endedMs = performance.now();
    times.publications.push(publishedMs - beganMs);
    times.commits.push(endedMs - publishedMs);
    times.both.push(endedMs - beganMs);
    await delay(Math.max(0, beganMs + apartMs - performance.now()));
  }
  for (const all of Object.values(times)) all.sort((a, b) => a - b);
  return times;
}
