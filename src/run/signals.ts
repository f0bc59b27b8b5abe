import { constants } from 'node:os';

const ENDING = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;

/**
 * For a command, before anything else. The first process of a container gets no signal that it has no handler for: neither
 * "docker stop" nor Ctrl-C would end it. Where the command handles a signal itself nothing changes.
 */
export function endOnSignalsAsFirst(): void {
  if (process.pid !== 1) return;
  for (const signal of ENDING) {
    process.on(signal, () => {
      if (process.listenerCount(signal) === 1) process.exit(128 + constants.signals[signal]);
    });
  }
}

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
  for (const signal of ENDING) {
    process.on(signal, () => {
      if (signals.seen !== null && signal !== 'SIGHUP') second(signal);
      signals.seen ??= signal;
      resolve(signal);
    });
  }
  for (const signal of ['SIGUSR1', 'SIGUSR2'] as const) process.on(signal, () => ignored?.(signal));
  return signals;
}
