import type { Verdict, WindowRules } from './symbol-windows.ts';

export type LatePolicy = 'revise' | 'drop' | 'dlq';

export interface BarRules extends WindowRules {
  late: LatePolicy;
  /** revise: how far behind its symbol's watermark the end of a window may lie that is still corrected, ms */
  reviseHorizonMs: number;
  /** a symbol without an event for so long has its windows closed, ms by the clock of the bus */
  idleTimeoutMs: number;
}

/** What became of an event; of a late one, what the policy made of it. */
export type EventOutcome =
  | Exclude<Verdict, 'late'>
  /** its window is marked: recomputed once the tick consumer has passed it */
  | 'marked'
  /** policy drop */
  | 'dropped'
  /** policy dlq, and bars that come late */
  | 'late'
  /** beyond the horizon of revisions */
  | 'too_late'
  /** of a replay, which goes on behind a window that was closed */
  | 'extended';
