import type { TickRange } from '../../core/ingest/ranges.ts';
import { addReport, emptyReport, type VdfMode, type VerifyReport } from '../../core/chain/verify/page.ts';
import { VerifyPlan, type VerifyTask } from '../../core/chain/verify/plan.ts';
import { VerifyThreads } from './threads.ts';

/** Below this another thread costs more to start than it saves. */
const TICKS_PER_THREAD_MIN = 2048n;

export interface VerifyRun {
  /** a server's, not embedded: */
  databaseUrl: string;
  applicationName: string;
  range: TickRange;
  vdf: VdfMode;
  /** of the store when the run began, null when it has none */
  position: bigint | null;
  /** upper bound */
  threads: number;
  /** how many numbers of the range are done, approximate above 2^53 */
  progress(done: number): void;
}

/**
 * Verifies what is stored of a range of ticks. The result does not depend on the number of threads or on the pages.
 * Rejects when the store cannot be read.
 */
export async function verifyStored(run: VerifyRun): Promise<VerifyReport> {
  const { databaseUrl, applicationName, vdf, position } = run;
  const setup = { databaseUrl, applicationName, vdf, position: position?.toString() ?? null };
  const total = run.range.last - run.range.first + 1n;
  const useful =
    total < TICKS_PER_THREAD_MIN * BigInt(run.threads) ? Number(total / TICKS_PER_THREAD_MIN) : run.threads;
  const threads = new VerifyThreads(setup, Math.max(1, useful));
  const plan = new VerifyPlan(run.range);
  const sum = emptyReport();
  let done = 0;
  const perform = async (task: VerifyTask): Promise<void> => {
    const outcome = await threads.run(task);
    switch (outcome.kind) {
      case 'too_large':
        plan.split(task);
        return;
      case 'no_hole':
        plan.recut(task);
        return;
      case 'page':
        plan.measured(task, outcome.bytes, outcome.ms);
        if (outcome.empty !== null) plan.passed(task.last, outcome.empty.nextStored);
        break;
      case 'hole':
    }
    addReport(sum, outcome.report);
    done += Number(task.last - task.first) + 1;
    run.progress(done);
  };
  try {
    await drain(plan, threads.capacity, perform);
  } finally {
    await threads.stop();
  }
  return sum;
}

/** Keeps `width` tasks running until the plan is empty and no running task can add another. */
async function drain(
  plan: VerifyPlan,
  width: number,
  perform: (task: VerifyTask) => Promise<void>,
): Promise<void> {
  const underWay = new Set<Promise<void>>();
  for (;;) {
    while (underWay.size < width) {
      const task = plan.take();
      if (task === null) break;
      const work: Promise<void> = perform(task).finally(() => underWay.delete(work));
      work.catch(() => {}); // the first failure ends the run; later ones are its consequences
      underWay.add(work);
    }
    if (underWay.size === 0) return;
    await Promise.race(underWay);
  }
}
