import type { BusOptions, StreamBus } from '../../src/bus/bus.ts';

/** What the conformance suite needs of a bus: a real server of its own, and ways to treat it badly. */
export interface BusServer {
  readonly kind: StreamBus['kind'];
  /** A bus on this server; as many as asked for, each with connections of its own. */
  open(overrides?: Partial<BusOptions>): Promise<StreamBus>;
  /** Ends the server without mercy (SIGKILL, immediate) and starts it again on the same data and port. */
  crash(): Promise<void>;
  /** Cuts every connection of clients; the server goes on. */
  cutConnections(): Promise<void>;
  /** SIGSTOP and SIGCONT of the server. */
  freeze(): void;
  thaw(): void;
  /** Puts a record there as a foreign program would (redis-cli, kcat, psql): the text as it stands. */
  foreign(topic: string, key: string, text: string): Promise<void>;
  stop(): Promise<void>;
}

/** Starts one, or the reason why it cannot be had here (the tests are then skipped with it). */
export type StartBusServer = () => Promise<BusServer | { skip: string }>;
