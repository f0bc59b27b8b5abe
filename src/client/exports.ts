/** What `tick-ingester/client` exports: the client of the HTTP API, for Node 20 or later and browsers. */
export { ApiError, type ApiErrorCode, type ApiErrorDetail } from './api-error.ts';
export type { ChainTick, ChainTicksQuery, ChainTickWithTransactions, Transaction } from './chain.ts';
export { createClient, type Client } from './client.ts';
export type { Format, FormattedList, Listing, ListOptions, Page } from './listing.ts';
export type { FeedOptions } from './live/feed.ts';
export type {
  LiveEvent,
  LiveFeed,
  LiveItem,
  LiveLoss,
  LiveOptions,
  LossJson,
  Topic,
  TopicItems,
} from './live/live.ts';
export type {
  Bar,
  BarsQuery,
  ExactNumber,
  FormerBar,
  MarketTick,
  OutgoingTick,
  RangesQuery,
  Signal,
  SignalsQuery,
  StoredBarsQuery,
  SymbolItem,
  SymbolsQuery,
  Tick,
  TickAggregate,
  TickQuery,
  TickRangeQuery,
  WebhookTick,
} from './market.ts';
export type {
  BusDeadLetter,
  ChainDeadLetter,
  DeadLettersQuery,
  Gap,
  GapsQuery,
  Job,
  JobsQuery,
  WholeDeadLetter,
} from './operations.ts';
export type { Status, StatusGroup } from './status.ts';
export type { CallOptions, ClientOptions } from './transport.ts';
export { isoOf, microsOf, type Time } from './wire.ts';
