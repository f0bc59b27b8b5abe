import type { BusOptions, StreamBus } from '../../src/bus/bus.ts';

/** What the conformance suite needs of a bus: a real server of its own, and ways to treat it badly. */
export interface BusServer {
  readonly kind: StreamBus['kind'];
  /**
   * For members in processes of their own that are killed (child.ts): a module that exports
   * `openBus(address, options): Promise<StreamBus>` as BusOpener says, and what to hand to it.
   */
  readonly opener: { module: URL; address: string };
  /** false: trim() removes in larger pieces (whole sub-tables) and may leave some of what it might take */
  readonly trimsExactly: boolean;
  /** promises that this bus cannot keep by its nature: name of the case, reason */
  readonly except?: Readonly<Record<string, string>>;
  /** A bus on this server, with connections of its own. */
  open(options: BusOptions): Promise<StreamBus>;
  /** Ends the server without mercy (SIGKILL, immediate) and starts it again on the same data and port. */
  crash(): Promise<void>;
  /** Cuts every connection of clients; the server goes on. */
  cutConnections(): Promise<void>;
  /** SIGSTOP and SIGCONT of the server. */
  freeze(): void;
  thaw(): void;
  /** Puts a record there as a foreign program would (redis-cli, kcat, psql): the text as it stands. */
  foreign(topic: string, key: string, text: string): Promise<void>;
  /** Many of them, in order, under the topic's own name. */
  foreignMany(topic: string, events: readonly { key: string; text: string }[]): Promise<void>;
  /** The same with a time that is not the server's, ms since 1970; later calls for a topic have later times. */
  foreignAt(topic: string, text: string, claimedMs: number): Promise<void>;
  stop(): Promise<void>;
}

export type BusOpener = (address: string, options: BusOptions) => Promise<StreamBus>;

/** Starts one, or the reason why it cannot be had here (the tests are then skipped with it). */
export type StartBusServer = () => Promise<BusServer | { skip: string }>;
