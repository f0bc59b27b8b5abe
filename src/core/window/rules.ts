import type { WindowRules } from './symbol-windows.ts';

export type LatePolicy = 'revise' | 'drop' | 'dlq';

export interface BarRules extends WindowRules {
  late: LatePolicy;
  /** revise: how far behind its symbol's watermark the end of a window may lie that is still corrected, ms */
  reviseHorizonMs: number;
  /** a symbol without an event for so long has its windows closed, ms by the clock of the bus */
  idleTimeoutMs: number;
}
