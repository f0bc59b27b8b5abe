import type { Signals } from './daemon.ts';

/** SIGTERM and SIGINT: the first begins a clean shutdown, the second ends the process at once. */
export function watchSignals(second: (signal: string) => void): Signals {
  return {
    first: new Promise((resolve) => {
      let seen = false;
      for (const signal of ['SIGTERM', 'SIGINT'] as const) {
        process.on(signal, () => {
          if (seen) second(signal);
          seen = true;
          resolve(signal);
        });
      }
    }),
  };
}
