import { isConfiguredLimit } from '../../core/retry.ts';
import type { LateWindow, Resume, Step } from '../../core/window/step.ts';
import {
  cursorAt,
  forgetReadContested,
  readContested,
  type ContestedCursor,
  type ContestedPage,
} from '../market/contested.ts';
import { reviseWindows, type Revision } from './revise.ts';
import {
  loadBarsState,
  readContestedFrom,
  writeContestedFrom,
  type BarsPlace,
  type BarsState,
} from './state.ts';
import type { StepFrame } from './step-statements.ts';
import { commitStep, type BarsPolicy, type StepResult } from './commit-step.ts';
import type { RunOnSession } from '../postgres/session.ts';
import { sqlstateOf } from '../postgres/sqlstate.ts';

/**
 * Bars and the state they rest on. Every method rejects with the server's error or as Session.run does, and may be
 * retried with the same arguments after any failure; SQLSTATE MDF01: the partition was taken over.
 */
export class BarsStore {
  readonly #run: RunOnSession;
  /** bars that one statement of a step writes at most: fewer since the server's configuration refused as many */
  #rowsMax = Infinity;

  constructor(run: RunOnSession) {
    this.#run = run;
  }

  load(place: BarsPlace, position: string | null, log: string, windowMs: number): Promise<BarsState> {
    return this.#run((client) => loadBarsState(client, place, position, log, windowMs));
  }

  /** The next contested minutes, of all symbols; null: from where this partition was. */
  async nextContested(place: BarsPlace, after: ContestedCursor | null): Promise<ContestedPage> {
    return this.#run(async (client) =>
      readContested(client, after ?? cursorAt(await readContestedFrom(client, place))),
    );
  }

  /** The partition needs nothing of contested_minutes before this transaction any more. */
  contestedRead(place: BarsPlace, tx: string): Promise<void> {
    return this.#run(async (client) => {
      await writeContestedFrom(client, place, tx);
      await forgetReadContested(client);
    });
  }

  async commitStep(frame: StepFrame, step: Step, policy: BarsPolicy): Promise<StepResult> {
    try {
      return await this.#run((client) =>
        commitStep(client, { ...frame, rowsMax: this.#rowsMax }, step, policy),
      );
    } catch (error) {
      if (isConfiguredLimit(sqlstateOf(error))) {
        const most = Math.min(this.#rowsMax, Math.max(step.windows.length, step.rollups.length));
        this.#rowsMax = Math.max(1, most >> 1);
      }
      throw error;
    }
  }

  revise(frame: StepFrame, at: Resume, late: readonly LateWindow[], policy: BarsPolicy): Promise<Revision> {
    return this.#run((client) => reviseWindows(client, frame, at, late, policy));
  }
}
