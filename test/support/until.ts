import { setTimeout as delay } from 'node:timers/promises';

const POLL_MS = 20;
const DEADLINE_MS = 60_000;

export interface UntilOptions {
  deadlineMs?: number;
  pollMs?: number;
  /** time begins anew whenever this changes: the deadline is for standing still */
  progress?: () => unknown;
  /** said when time is over: what is known of the matter */
  context?: () => string | Promise<string>;
}

/**
 * Asks again and again until there is an answer (not undefined, null or false), and returns it.
 * @throws Error after the deadline; what `probe` throws is thrown at once
 */
export async function until<T>(
  what: string,
  probe: () => Promise<T | undefined | null | false> | T | undefined | null | false,
  options: UntilOptions = {},
): Promise<T> {
  const limitMs = options.deadlineMs ?? DEADLINE_MS;
  let endMs = performance.now() + limitMs;
  let progress: unknown;
  for (;;) {
    const answer = await probe();
    if (answer !== undefined && answer !== null && answer !== false) return answer;
    const now = options.progress?.();
    if (now !== progress) endMs = performance.now() + limitMs;
    progress = now;
    if (performance.now() > endMs) {
      const context = options.context === undefined ? '' : `\n${await options.context()}`;
      throw new Error(`not within ${limitMs} ms: ${what}${context}`);
    }
    await delay(options.pollMs ?? POLL_MS);
  }
}
