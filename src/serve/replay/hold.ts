import type { Env } from '../../core/env.ts';
import { pause } from '../../core/wait.ts';
import type { ReplayStore } from '../../store/replay/replay-store.ts';
import { LEASE_MS, type ReplayHold, type ReplayOrders, type ReplayState } from '../../store/replay/runs.ts';

export interface RunHoldOptions {
  store: ReplayStore;
  hold: ReplayHold;
  env: Env;
  /** how far the run is now */
  stateOf: () => ReplayState;
  /** what is wanted of it; null: somebody else has it now */
  ordered: (orders: ReplayOrders | null) => void;
}

/** Between two looks at what is wanted, ms. */
const LOOK_MS = 200;
/** The state is stored, and the lease renewed, with every fifth look. */
const LOOKS_PER_STORE = 5;
/** Whoever could not renew the lease emits nothing from so long before its end, ms. */
const MARGIN_MS = 500;

/** The lease of a run: stores every second how far it is, and looks in between what is wanted of it. */
export class RunHold {
  readonly #options: RunHoldOptions;
  readonly #ended = new AbortController();
  #heldUntilMs: number;
  #looking: Promise<void> | null = null;

  /** @param claimedMs when the claim was sent, monotonic */
  constructor(options: RunHoldOptions, claimedMs: number) {
    this.#options = options;
    this.#heldUntilMs = claimedMs + LEASE_MS - MARGIN_MS;
  }

  start(): void {
    this.#looking = this.#look();
  }

  /** Whether nobody else can have it. */
  get isHeld(): boolean {
    return this.#options.env.clock.monotonicMs() < this.#heldUntilMs;
  }

  /** No look is under way afterwards. */
  async stop(): Promise<void> {
    this.#ended.abort();
    await this.#looking;
  }

  async #look(): Promise<void> {
    const { signal } = this.#ended;
    let wasFailing = false;
    for (let looks = 1; ; looks += 1) {
      await pause(LOOK_MS, signal);
      if (signal.aborted) return;
      try {
        if (!(await this.#once(looks % LOOKS_PER_STORE === 0 || wasFailing))) return;
        wasFailing = false;
      } catch (err) {
        if (!wasFailing)
          this.#options.env.log('warn', 'TickReplayer: The run cannot be stored (will try again)', { err });
        wasFailing = true;
      }
    }
  }

  async #once(stores: boolean): Promise<boolean> {
    const { store, hold, env, stateOf, ordered } = this.#options;
    const askedMs = env.clock.monotonicMs();
    const orders = stores ? await store.store(hold, stateOf(), { kind: 'kept' }) : await store.orders(hold);
    if (orders !== null && stores) this.#heldUntilMs = askedMs + LEASE_MS - MARGIN_MS;
    if (!this.#ended.signal.aborted) ordered(orders);
    return orders !== null;
  }
}
