import type { Verdict, WindowRules } from './symbol-windows.ts';

export type LatePolicy = 'revise' | 'drop' | 'dlq';

export interface BarRules extends WindowRules {
  late: LatePolicy;
  /** revise: a window is still corrected if its end is at most this far behind its symbol's watermark, ms */
  reviseHorizonMs: number;
  /** a symbol's windows are closed after this long without an event, ms by the bus's clock */
  idleTimeoutMs: number;
}

/** What became of an event; for a late one, what the policy decided. */
export type EventOutcome =
  | Exclude<Verdict, 'late'>
  /** its window is marked late: recomputed once the tick consumer has passed the event */
  | 'marked'
  /** policy revise: its open window holds this id with different content; once closed it is recomputed from the stored ones */
  | 'contested'
  /** policy drop */
  | 'dropped'
  /** policy dlq, and late bars */
  | 'late'
  /** beyond the revision horizon */
  | 'too_late'
  /** belongs to a replay that continues a window already closed */
  | 'extended';
