import { setTimeout as delay } from 'node:timers/promises';
import { parseIsoMicros, systemClock } from '../../../core/time.ts';
import type { Replays } from '../../../serve/replay/replays.ts';
import type { ReplayRunView } from '../../../store/replay/views.ts';
import { startProgress } from '../progress.ts';

const LOOK_MS = 250;

/**
 * Shows the progress of a run on stderr, by the times of its ticks, until it has ended or `stopping` aborts; resolves with it.
 * Rejects as the store does.
 */
export async function follow(replays: Replays, runId: bigint, stopping: AbortSignal): Promise<ReplayRunView> {
  let run = await replays.show(runId);
  const startUs = parseIsoMicros(run.min_ts);
  const seconds = (time: string): number => Number((parseIsoMicros(time) - startUs) / 1_000_000n);
  const total = seconds(String(run.metadata['end']));
  const progress = startProgress(`replay ${runId}`, 's of ticks', Math.max(1, total), systemClock);
  try {
    while (run.completed_at === null && !stopping.aborted) {
      await delay(LOOK_MS);
      run = await replays.show(runId);
      progress.update(run.status === 'success' ? total : seconds(run.max_ts ?? run.min_ts));
    }
    return run;
  } finally {
    progress.stop();
  }
}
