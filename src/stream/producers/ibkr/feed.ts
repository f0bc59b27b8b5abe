export type FeedKind = 'contract' | 'trades' | 'quotes' | 'line';

/**
 * One thing that TWS is asked for: the contract of an instrument, its trades or its quotes tick by tick, or a market data
 * line, which has both. It holds at most one request of TWS: the older one is cancelled before another is sent, and what
 * still comes by it is not taken.
 *
 *   state                event                        next
 *   idle                 wanted                       waiting
 *   waiting, doubted     its turn                     asked       the older request is cancelled
 *   asked                something comes              delivering
 *   asked, delivering    refused, or silent too long  doubted     its turn comes after a growing wait
 *   doubted              something comes              delivering  so it works after all
 *   any                  TWS has lost it              waiting
 *   any                  not wanted any more          idle        cancelled
 */
export class Feed<Owner> {
  readonly kind: FeedKind;
  readonly subscription: Owner;
  state: 'idle' | 'waiting' | 'asked' | 'delivering' | 'doubted' = 'idle';
  /** the request that TWS holds */
  number: number | null = null;
  /** rises with each decision: what still waits for an earlier one is void */
  turn = 0;
  /** since it last delivered */
  refusals = 0;
  silences = 0;
  heardMs = -Infinity;
  /** from when on its silence counts: it delivered, was asked for, its exchange was closed, or nothing was read */
  quietSinceMs = -Infinity;

  constructor(kind: FeedKind, subscription: Owner) {
    this.kind = kind;
    this.subscription = subscription;
  }
}
