import type { monitorEventLoopDelay } from 'node:perf_hooks';

/** What every worker thread reports about itself. */
export interface ThreadStats {
  /** user + system CPU of this thread since it started, s */
  cpuSeconds: number;
  /** 99th percentile of the event-loop delay since the last report, s */
  loopDelaySeconds: number;
}

/** delay: an enabled monitorEventLoopDelay() with its default resolution; it is reset. */
export function threadStats(delay: ReturnType<typeof monitorEventLoopDelay>): ThreadStats {
  const { user, system } = process.threadCpuUsage();
  const loopDelaySeconds =
    delay.count === 0 ? 0 : Math.max(0, delay.percentile(99) / 1e9 - RESOLUTION_SECONDS);
  delay.reset();
  return { cpuSeconds: (user + system) / 1e6, loopDelaySeconds };
}

/** monitorEventLoopDelay reports the timer's own interval as part of each sample. */
const RESOLUTION_SECONDS = 0.01;
