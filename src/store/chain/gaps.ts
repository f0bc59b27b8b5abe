import type { Client } from 'pg';
import type { TickRange } from '../../core/ingest/ranges.ts';
import { underFence } from './ledger.ts';

/** Ranges that were requested in vain, and ranges proved to be unavailable. */
export interface FillingRecord {
  /** waitMs: when they are requested again, from now */
  tried: readonly (TickRange & { error: string; waitMs: number })[];
  unfillable: readonly TickRange[];
}

const UNFILLABLE = 'the sequencer does not have it';

/** Records the progress of filling gaps, in one transaction under the fence. */
export async function recordFilling(
  client: Client,
  { tried, unfillable }: FillingRecord,
  epoch: bigint,
): Promise<void> {
  await underFence(client, epoch, async () => {
    await client.query(
      'SELECT ingest_tried_gap(f, l, e, w) FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[]) AS t(f, l, e, w)',
      [
        firsts(tried),
        lasts(tried),
        tried.map(({ error }) => error),
        tried.map(({ waitMs }) => Math.round(waitMs)),
      ],
    );
    await client.query(
      "SELECT ingest_close_gaps(f, l, 'unfillable', $3) FROM unnest($1::bigint[], $2::bigint[]) AS t(f, l)",
      [firsts(unfillable), lasts(unfillable), UNFILLABLE],
    );
  });
}

function firsts(ranges: readonly TickRange[]): string[] {
  return ranges.map(({ first }) => first.toString());
}

function lasts(ranges: readonly TickRange[]): string[] {
  return ranges.map(({ last }) => last.toString());
}
