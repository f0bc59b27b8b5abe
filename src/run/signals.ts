/** What an operator asked for by SIGTERM, SIGINT or SIGHUP. */
export interface Signals {
  /** resolves with the name of the first one */
  first: Promise<string>;
  /** its name once it came */
  seen: string | null;
}

export interface SignalHandlers {
  /** SIGTERM or SIGINT came after the first one: somebody does not want to wait */
  second: (signal: string) => void;
  /** it has no meaning here, and nothing else may happen */
  ignored?: (signal: string) => void;
}

/**
 * SIGTERM, SIGINT and SIGHUP: the first begins a clean shutdown, a second one ends the process at once. A terminal that
 * closes may send SIGHUP twice, so that one is never the second. SIGUSR1 and SIGUSR2 do nothing: without a handler the
 * one would open Node's inspector and the other end the process.
 */
export function watchSignals({ second, ignored }: SignalHandlers): Signals {
  const { promise, resolve } = Promise.withResolvers<string>();
  const signals: Signals = { first: promise, seen: null };
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (signals.seen !== null && signal !== 'SIGHUP') second(signal);
      signals.seen ??= signal;
      resolve(signal);
    });
  }
  for (const signal of ['SIGUSR1', 'SIGUSR2'] as const) process.on(signal, () => ignored?.(signal));
  return signals;
}
