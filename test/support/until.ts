import { setTimeout as delay } from 'node:timers/promises';

const POLL_MS = 20;
const DEADLINE_MS = 60_000;

export interface UntilOptions {
  deadlineMs?: number;
  pollMs?: number;
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
  const endMs = performance.now() + limitMs;
  for (;;) {
    const answer = await probe();
    if (answer !== undefined && answer !== null && answer !== false) return answer;
    if (performance.now() > endMs) {
      const context = options.context === undefined ? '' : `\n${await options.context()}`;
      throw new Error(`not within ${limitMs} ms: ${what}${context}`);
    }
    await delay(options.pollMs ?? POLL_MS);
  }
}
