import {
  decodeChainTick,
  decodeTransaction,
  decodeWholeTick,
  type ChainTick,
  type ChainTicksQuery,
  type ChainTickWithTransactions,
  type Transaction,
} from './chain.ts';
import { Listing, type ListOptions } from './listing.ts';
import { LiveFeed, type LiveOptions, type Topic } from './live/live.ts';
import {
  decodeAggregate,
  decodeBar,
  decodeFormerBar,
  decodeSignal,
  decodeSymbol,
  decodeTick,
  type Bar,
  type BarsQuery,
  type FormerBar,
  type OutgoingTick,
  type RangesQuery,
  type Signal,
  type SignalsQuery,
  type StoredBarsQuery,
  type SymbolItem,
  type SymbolsQuery,
  type TickAggregate,
  type TickOf,
  type TickQuery,
  type TickRangeQuery,
} from './market.ts';
import {
  decodeBusDeadLetter,
  decodeChainDeadLetter,
  decodeGap,
  decodeJob,
  decodeWholeDeadLetter,
  type BusDeadLetter,
  type ChainDeadLetter,
  type DeadLettersQuery,
  type Gap,
  type GapsQuery,
  type Job,
  type JobsQuery,
  type WholeDeadLetter,
} from './operations.ts';
import { decodeStatus, type Status } from './status.ts';
import { Transport, type CallOptions, type ClientOptions, type QueryValues } from './transport.ts';
import { isoOf, type Time } from './wire.ts';

/** @throws TypeError for a url that is none */
export function createClient(options: ClientOptions): Client {
  return new Client(options);
}

/**
 * The HTTP API. What can be asked twice (everything but what says otherwise) is repeated while the server is away or busy;
 * everything rejects with ApiError, or with the reason of its signal. Times are as the API writes them (microsOf() makes
 * microseconds of them), whole numbers that a double may not hold are bigint.
 */
export class Client {
  readonly #transport: Transport;

  constructor(options: ClientOptions) {
    this.#transport = new Transport(options);
  }

  /** The newest tick of a symbol; not_found where there is none. */
  latest<const Q extends TickQuery>(symbol: string, query?: Q, options?: CallOptions): Promise<TickOf<Q>> {
    return this.#one(`v1/ticks/${segment(symbol)}/latest`, { ...query }, decodeTick, options) as Promise<
      TickOf<Q>
    >;
  }

  /** The newest ticks of a symbol, newest first. */
  recent<const Q extends TickQuery>(symbol: string, query?: Q & ListOptions): Listing<TickOf<Q>> {
    return this.#list(`v1/ticks/${segment(symbol)}/recent`, query, decodeTick) as Listing<TickOf<Q>>;
  }

  /** Ticks of a symbol from start to end, both included, oldest first. */
  range<const Q extends TickRangeQuery>(symbol: string, query: Q & ListOptions): Listing<TickOf<Q>> {
    return this.#list(`v1/ticks/${segment(symbol)}/range`, query, decodeTick) as Listing<TickOf<Q>>;
  }

  symbols(query?: SymbolsQuery & ListOptions): Listing<SymbolItem> {
    return this.#list('v1/symbols', query, decodeSymbol);
  }

  bars(query: StoredBarsQuery & ListOptions): Listing<Bar> {
    return this.#list('v1/bars', query, decodeBar);
  }

  /** Versions that corrections replaced. */
  barsHistory(query: BarsQuery & ListOptions): Listing<FormerBar> {
    return this.#list('v1/bars/history', query, decodeFormerBar);
  }

  signals(query: SignalsQuery & ListOptions): Listing<Signal> {
    return this.#list('v1/signals', query, decodeSignal);
  }

  /** What the webhook ticks of a symbol amount to, window by window. */
  ranges(query: RangesQuery & ListOptions): Listing<TickAggregate> {
    return this.#list('v1/ranges', query, decodeAggregate);
  }

  /** The window that covers a time; null: there is none. */
  async rangeAt(symbol: string, at: Time, options?: CallOptions): Promise<TickAggregate | null> {
    return this.#first('v1/ranges', { symbol, at }, decodeAggregate, options);
  }

  /** All windows that share a moment with [start, end) as one; null: there is none. */
  async mergedRange(query: RangesQuery, options?: CallOptions): Promise<TickAggregate | null> {
    return this.#first('v1/ranges', { ...query, merge: true }, decodeAggregate, options);
  }

  /** Ticks of the chain with numbers in [from, to), without their transactions. */
  chainTicks(query?: ChainTicksQuery & ListOptions): Listing<ChainTick> {
    return this.#list('v1/chain/ticks', query, decodeChainTick);
  }

  chainTick(number: bigint | number, options?: CallOptions): Promise<ChainTickWithTransactions> {
    return this.#one(`v1/chain/ticks/${number}`, {}, decodeWholeTick, options);
  }

  /** The places of a transaction in the chain, of which there may be several; not_found where there is none. */
  transactions(hash: string, options?: CallOptions): Listing<Transaction> {
    return this.#list(`v1/chain/transactions/${segment(hash)}`, options, decodeTransaction);
  }

  gaps(query?: GapsQuery & ListOptions): Listing<Gap> {
    return this.#list('v1/gaps', query, decodeGap);
  }

  /** Frames of the chain that could not be stored, newest first. */
  chainDeadLetters(query?: DeadLettersQuery & ListOptions): Listing<ChainDeadLetter> {
    return this.#list('v1/dead-letters', { ...query, source: 'chain' }, decodeChainDeadLetter);
  }

  /** Records of the bus that could not be used, newest first. */
  busDeadLetters(query?: DeadLettersQuery & ListOptions): Listing<BusDeadLetter> {
    return this.#list('v1/dead-letters', { ...query, source: 'bus' }, decodeBusDeadLetter);
  }

  /** One of either with its bytes: of the chain by its number, of the bus by its event_id. */
  deadLetter(id: number | bigint | string, options?: CallOptions): Promise<WholeDeadLetter> {
    return this.#one(`v1/dead-letters/${segment(String(id))}`, {}, decodeWholeDeadLetter, options);
  }

  /** What is stored, what is missing, who writes, who reads the bus; at most a second old. */
  status(options?: CallOptions): Promise<Status> {
    return this.#one('v1/status', {}, decodeStatus, options);
  }

  jobs(query?: JobsQuery & ListOptions): Listing<Job> {
    return this.#list('v1/jobs', query, decodeJob);
  }

  job(id: number, options?: CallOptions): Promise<Job> {
    return this.#one(`v1/jobs/${id}`, {}, decodeJob, options);
  }

  /**
   * One tick, or several of which all or none are taken; at most 1 MiB. What is taken is kept. Repeated like a query: a
   * tick that is there already changes nothing.
   */
  async ingest(
    ticks: OutgoingTick | readonly OutgoingTick[],
    options?: CallOptions,
  ): Promise<{ accepted: number }> {
    const list = Array.isArray(ticks)
      ? (ticks as readonly OutgoingTick[]).map(tickJson)
      : tickJson(ticks as OutgoingTick);
    const body = JSON.stringify(list);
    const answer = await this.#transport.json({ method: 'POST', path: 'ingest/tick', body }, options);
    return answer as { accepted: number };
  }

  /** Events of a topic as they come, from `from` on with their history; goes on by itself after a cut. */
  live<const T extends Topic>(options: LiveOptions<T>): LiveFeed<T> {
    return new LiveFeed(this.#transport, options);
  }

  #list<T>(path: string, query: object | undefined, decode: (item: unknown) => T): Listing<T> {
    const { limit, signal, ...values } = (query ?? {}) as ListOptions & QueryValues;
    const options = {
      ...(limit === undefined ? {} : { limit }),
      ...(signal === undefined ? {} : { signal }),
    };
    return new Listing(this.#transport, path, values, options, decode);
  }

  async #first<T>(
    path: string,
    query: QueryValues,
    decode: (item: unknown) => T,
    options?: CallOptions,
  ): Promise<T | null> {
    const { items } = await this.#list(path, { ...query, ...options }, decode).page();
    return items[0] ?? null;
  }

  async #one<T>(
    path: string,
    query: QueryValues,
    decode: (item: unknown) => T,
    options?: CallOptions,
  ): Promise<T> {
    return decode(await this.#transport.json({ method: 'GET', path, query }, options));
  }
}

function tickJson({ ts, seq, ...tick }: OutgoingTick): object {
  return {
    ...tick,
    ts: typeof ts === 'bigint' ? isoOf(ts) : ts,
    ...(seq === undefined ? {} : { seq: typeof seq === 'bigint' ? seq.toString() : seq }),
  };
}

/** A symbol may have blanks, slashes and letters of any script. */
function segment(text: string): string {
  return encodeURIComponent(text);
}
