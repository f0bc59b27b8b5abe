/** What an operator asked for by SIGTERM or SIGINT. */
export interface Signals {
  /** resolves with the name of the first one */
  first: Promise<string>;
  /** its name once it came */
  seen: string | null;
}

/** SIGTERM and SIGINT: the first begins a clean shutdown, the second ends the process at once. */
export function watchSignals(second: (signal: string) => void): Signals {
  const { promise, resolve } = Promise.withResolvers<string>();
  const signals: Signals = { first: promise, seen: null };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (signals.seen !== null) second(signal);
      signals.seen ??= signal;
      resolve(signal);
    });
  }
  return signals;
}
