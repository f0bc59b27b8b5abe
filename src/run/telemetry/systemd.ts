/**
 * systemd's notify protocol (Type=notify, WatchdogSec=). Node has no unix datagram sockets, so the messages go out
 * through systemd-notify, one process at a time; the unit therefore needs NotifyAccess=all. Outside a unit nothing
 * happens.
 */
import { spawn } from 'node:child_process';

export interface NotifierOptions {
  /** NOTIFY_SOCKET; null = no unit, every method does nothing */
  socket: string | null;
  /** WATCHDOG_USEC in ms; null = the unit has no watchdog */
  watchdogMs: number | null;
  /** false lets the watchdog run out, and systemd restarts the service */
  healthy: () => boolean;
  warn: (message: string) => void;
  command?: string;
}

export interface Notifier {
  ready(): void;
  /** the drain begins; the watchdog is still fed until close() */
  stopping(): void;
  /** stops the watchdog's timer and waits for sends in progress, a few seconds at most */
  close(): Promise<void>;
}

/** A send is a fork and one datagram; beyond this systemd-notify hangs and is killed. */
const SEND_TIMEOUT_MS = 5_000;
/** Where systemd-notify is looked for, whatever PATH a unit sets. */
const SEARCH_PATH = '/usr/local/bin:/usr/bin:/bin';

export function createNotifier(options: NotifierOptions): Notifier {
  if (options.socket === null) {
    return { ready() {}, stopping() {}, close: () => Promise.resolve() };
  }
  return new SystemdNotifier(options, options.socket);
}

class SystemdNotifier implements Notifier {
  readonly #options: NotifierOptions;
  readonly #socket: string;
  readonly #watchdog: NodeJS.Timeout | null;
  /** assignments such as READY=1; one requested twice during a send goes out once */
  readonly #waiting = new Set<string>();
  #sending: Promise<void> | null = null;
  #closed = false;
  #warned = false;

  constructor(options: NotifierOptions, socket: string) {
    this.#options = options;
    this.#socket = socket;
    const { watchdogMs } = options;
    this.#watchdog =
      watchdogMs === null ? null : setInterval(() => this.#feedWatchdog(), watchdogMs / 2).unref();
  }

  ready(): void {
    this.#send('READY=1');
  }

  stopping(): void {
    this.#send('STOPPING=1');
  }

  async close(): Promise<void> {
    if (this.#watchdog !== null) clearInterval(this.#watchdog);
    this.#closed = true;
    await this.#sending;
  }

  #feedWatchdog(): void {
    if (this.#options.healthy()) this.#send('WATCHDOG=1');
  }

  #send(assignment: string): void {
    if (this.#closed) return;
    this.#waiting.add(assignment);
    this.#sending ??= this.#sendAll();
  }

  async #sendAll(): Promise<void> {
    while (this.#waiting.size > 0) {
      const assignments = [...this.#waiting];
      this.#waiting.clear();
      const failure = await this.#run(assignments);
      if (failure !== null && !this.#warned) {
        this.#warned = true;
        this.#options.warn(
          `systemd was not notified (${failure}): a unit of Type=notify will take the service for failed`,
        );
      }
    }
    this.#sending = null;
  }

  /** What went wrong, or null. Never rejects. */
  #run(assignments: string[]): Promise<string | null> {
    return new Promise((resolve) => {
      const child = spawn(this.#options.command ?? 'systemd-notify', assignments, {
        stdio: 'ignore',
        env: { NOTIFY_SOCKET: this.#socket, PATH: SEARCH_PATH },
        timeout: SEND_TIMEOUT_MS,
        killSignal: 'SIGKILL',
      });
      child.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
      child.once('exit', (code, signal) =>
        resolve(code === 0 ? null : `systemd-notify ended with ${signal ?? code}`),
      );
    });
  }
}
