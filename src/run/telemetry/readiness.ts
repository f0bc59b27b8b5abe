import type { IngesterStatus } from '../../ingest/status.ts';
import type { StreamState } from '../../ingest/sequencer/stream-host.ts';
import type { ReadyReason } from './http.ts';

/** Why the daemon is not ready; no reason is ready. Spec §4. */
export function notReadyReasons(status: IngesterStatus | null): ReadyReason[] {
  if (status === null) return ['database'];
  const reasons = new Set<ReadyReason>();
  const { leadership, databaseTrouble, writersConnected, openGaps } = status;
  if (leadership.kind === 'connecting' || leadership.kind === 'unreachable') reasons.add('database');
  if (leadership.kind === 'schema') reasons.add('schema');
  if (leadership.kind === 'standby') reasons.add('standby');
  for (const { kind } of databaseTrouble.values()) {
    // what it would have written the others write
    if (kind === 'unconnected' && writersConnected > 0) continue;
    reasons.add(kind === 'schema' ? 'schema' : 'database');
  }
  if (status.halt !== null) reasons.add(status.halt.kind);
  else if (leadership.kind === 'leading')
    for (const reason of streamReasons(status.stream)) reasons.add(reason);
  if (openGaps.length > 0) reasons.add('gap');
  return [...reasons];
}

export function streamReasons(stream: StreamState): ReadyReason[] {
  switch (stream.kind) {
    case 'streaming':
      return [];
    case 'stalled':
      return ['stalled'];
    case 'behind':
      return ['behind'];
    case 'poison':
      return ['poison'];
    case 'connecting':
    case 'down':
    case 'stopped':
      return ['stream'];
  }
}
