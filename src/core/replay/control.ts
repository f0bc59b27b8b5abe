/** What an operator may do to a run. */
export type ReplayAction = 'pause' | 'resume' | 'change speed' | 'seek' | 'cancel';

export type ReplayStatus = 'pending' | 'running' | 'paused' | 'success' | 'failed' | 'cancelled';

/**
 * The status after an action; null: the run has ended, or is not in a state for it.
 *
 *   status     pause     resume    change speed, seek   cancel
 *   pending    paused    pending   pending              cancelled
 *   running    paused    running   running              cancelled
 *   paused     paused    pending   paused               cancelled
 *   ended      –         –         –                    –
 *
 * A resumed run is pending until somebody runs it again.
 */
export function statusAfter(status: ReplayStatus, action: ReplayAction): ReplayStatus | null {
  if (status === 'success' || status === 'failed' || status === 'cancelled') return null;
  switch (action) {
    case 'pause':
      return 'paused';
    case 'resume':
      return status === 'paused' ? 'pending' : status;
    case 'change speed':
    case 'seek':
      return status;
    case 'cancel':
      return 'cancelled';
  }
}
