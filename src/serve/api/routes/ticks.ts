import type { Client } from 'pg';
import { z } from 'zod';
import type { Batch } from '../../../core/table/batch.ts';
import type { Clock, Micros } from '../../../core/time.ts';
import { marketTickColumns, marketTicks } from '../../../store/queries/market-ticks.ts';
import { readNewest } from '../../../store/queries/newest-first.ts';
import { ProviderNames } from '../../../store/queries/provider-names.ts';
import { readBatches, readPage, type Page, type Query } from '../../../store/queries/query.ts';
import { webhookTickColumns, webhookTicks } from '../../../store/queries/webhook-ticks.ts';
import { answerList, answerOne, type List } from '../answer.ts';
import { decodeCursor, identityOf } from '../cursor.ts';
import { ApiError, errorResponses } from '../errors.ts';
import { itemOf, listOf, oneOf } from '../items.ts';
import type { LatestTick, LatestTicks } from '../latest-ticks.ts';
import { CONTENT_TYPES, formatFor } from '../media.ts';
import { format, keyMicros, keyNumber, PAGE, provider, symbol, time } from '../parameters.ts';
import type { Reading } from '../reading.ts';
import type { Api, Routes } from '../routes.ts';

export interface TickRoutesOptions {
  reading: Reading;
  latest: LatestTicks;
  clock: Clock;
}

/** What the queries of ticks are made with. */
interface Sources {
  reading: Reading;
  providers: ProviderNames;
  clock: Clock;
}

const KIND = z.enum(['market', 'webhook']);
const WHICH = {
  kind: KIND.optional().meta({
    description:
      'market: tick_data; webhook: md_ticks. Without it webhook where `source` is given, market where `provider` is; else latest is the newest of both, and lists are of the market, or of the webhook where a symbol has no market tick.',
  }),
  provider: provider.optional(),
  source: provider.optional().meta({ description: 'Of webhook ticks: who sent them.' }),
};
const PATH = z.object({ symbol });
const LATEST = z.strictObject({ ...WHICH, format });
const RECENT = z.strictObject({ ...WHICH, ...PAGE, format });
const RANGE = z.strictObject({
  ...WHICH,
  start: time.meta({ description: 'The first time, included.' }),
  end: time.optional().meta({ description: 'The last time, included. Default: no end.' }),
  ...PAGE,
  format,
});

const tickItem = z.union([
  itemOf(marketTickColumns('', ['', '']), {
    id: 'MarketTick',
    description: 'A price event of a provider',
    nullable: ['size', 'bid', 'ask', 'side'],
  }),
  itemOf(webhookTickColumns(''), {
    id: 'StoredWebhookTick',
    description: 'A tick that came by the webhook',
  }),
]);

const marketKey = z.strictObject({ kind: z.literal('market'), ts: keyMicros, provider, seq: keyNumber });
const webhookKey = z.strictObject({
  kind: z.literal('webhook'),
  ts: keyMicros,
  source: z.string(),
  seq: keyNumber,
});
const tickKey = z.union([marketKey, webhookKey]);
type TickKey = z.output<typeof tickKey>;

type Which = z.output<typeof LATEST>;

const LIST_ERRORS = errorResponses('not_acceptable');

/** /v1/ticks/{symbol}/latest, recent and range. */
export function tickRoutes({ reading, latest, clock }: TickRoutesOptions): Routes {
  const sources: Sources = { reading, clock, providers: new ProviderNames(clock) };
  return (api: Api): void => {
    const config = { scope: 'read', isFrequent: true } as const;
    const tags = ['ticks'];
    api.get(
      '/v1/ticks/:symbol/latest',
      {
        config,
        schema: {
          operationId: 'latestTick',
          summary: 'the newest tick of a symbol',
          tags,
          params: PATH,
          querystring: LATEST,
          response: {
            200: oneOf(tickItem, 'The newest tick.'),
            ...errorResponses('not_found', 'not_acceptable'),
          },
        },
      },
      async (request, reply) => {
        const { symbol } = request.params;
        const known = inMemory(latest, request.query, symbol);
        const isJson = formatFor(request.query.format, request.headers.accept) === 'json';
        if (known !== null && isJson)
          return reply.header('vary', 'accept').type(CONTENT_TYPES.json).send(Buffer.from(known.json));
        const batch = await reading.run((client) => newest(client, sources, request.query, symbol));
        return answerOne(request, reply, request.query, batch, 'this symbol has no such tick');
      },
    );
    api.get(
      '/v1/ticks/:symbol/recent',
      {
        config,
        schema: {
          operationId: 'recentTicks',
          summary: 'ticks of a symbol, the newest first',
          description: '1000 of them where no limit is given, in every format.',
          tags,
          params: PATH,
          querystring: RECENT,
          response: { 200: listOf(tickItem, 'Ticks, the newest first.'), ...LIST_ERRORS },
        },
      },
      async (request, reply) => {
        const { symbol } = request.params;
        const span = { from: null, to: null, order: 'newest first' } as const;
        const list = await ticksOf(sources, '/recent', symbol, request.query, span);
        return answerList(request, reply, { ...list, limitDefault: RECENT_ROWS });
      },
    );
    api.get(
      '/v1/ticks/:symbol/range',
      {
        config,
        schema: {
          operationId: 'rangeOfTicks',
          summary: 'ticks of a symbol between two times, both included',
          tags,
          params: PATH,
          querystring: RANGE,
          response: { 200: listOf(tickItem, 'Ticks, the oldest first.'), ...LIST_ERRORS },
        },
      },
      async (request, reply) => {
        const { start, end } = request.query;
        const span = { from: start, to: end ?? null, order: 'oldest first' } as const;
        return answerList(
          request,
          reply,
          await ticksOf(sources, '/range', request.params.symbol, request.query, span),
        );
      },
    );
  };
}

const RECENT_ROWS = 1000;

/** Which tables are asked. @throws ApiError bad_request where the parameters contradict each other */
function kindsOf({ kind, provider, source }: Which): ('market' | 'webhook')[] {
  if (source !== undefined && (kind === 'market' || provider !== undefined))
    throw contradiction('query.source', 'is of webhook ticks');
  if (provider !== undefined && kind === 'webhook')
    throw contradiction('query.provider', 'is of market ticks');
  if (kind !== undefined) return [kind];
  if (source !== undefined) return ['webhook'];
  return provider === undefined ? ['market', 'webhook'] : ['market'];
}

function contradiction(path: string, message: string): ApiError {
  return new ApiError('bad_request', 'the parameters contradict each other', {
    details: [{ path, message }],
  });
}

/** Null as well where one of the tables asked is not known in memory. */
function inMemory(latest: LatestTicks, asked: Which, symbol: string): LatestTick | null {
  let newest: LatestTick | null = null;
  for (const kind of kindsOf(asked)) {
    const found = latest.get(kind, asked.provider ?? asked.source ?? null, symbol);
    if (found === null) return null;
    if (newest === null || found.ts > newest.ts) newest = found;
  }
  return newest;
}

const NEWEST = { to: null, order: 'newest first', after: null } as const;

/** Of both tables where nothing else is said; of two of one time the market's. */
async function newest(
  client: Client,
  { providers: names, clock }: Sources,
  asked: Which,
  symbol: string,
): Promise<Batch> {
  const page = { before: clock.nowMicros(), rowsMax: 1, needsMore: false };
  let found: Batch | null = null;
  for (const kind of kindsOf(asked)) {
    const providers = kind === 'market' ? await providersAsked(client, names, asked, symbol) : [];
    const { batch } = await readNewest(client, page, (from) =>
      kind === 'market'
        ? marketTicks({ ...NEWEST, from, symbol, providers, rowsMax: 1 })
        : webhookTicks({ ...NEWEST, from, symbol, source: asked.source ?? null }),
    );
    if (found === null || timeOf(batch) > timeOf(found)) found = batch;
  }
  if (found === null) throw new Error('no table was asked');
  return found;
}

/** The one that is asked for, or those that have the symbol. */
async function providersAsked(
  client: Client,
  names: ProviderNames,
  { provider }: Which,
  symbol: string,
): Promise<string[]> {
  return provider === undefined ? names.of(client, symbol) : [provider];
}

/** Of its one row; before all times where it has none. */
function timeOf(batch: Batch): Micros {
  return (batch.last()?.['ts'] as Micros | undefined) ?? -(2n ** 63n);
}

type Span = { from: Micros | null; to: Micros | null; order: 'oldest first' | 'newest first' };
type AskedList = Which & { limit?: number | undefined; cursor?: string | undefined };

async function ticksOf(
  { reading, providers: names, clock }: Sources,
  route: string,
  symbol: string,
  asked: AskedList,
  span: Span,
): Promise<List> {
  const identity = identityOf(`ticks${route}`, { symbol, ...asked });
  const after = asked.cursor === undefined ? null : decodeCursor<TickKey>(asked.cursor, identity, tickKey);
  const kinds = after === null ? kindsOf(asked) : [after.kind];
  const providers = kinds.includes('market')
    ? await reading.run((client) => providersAsked(client, names, asked, symbol))
    : [];
  const isMarket = kinds.length === 1 ? kinds[0] === 'market' : providers.length > 0;
  const source = asked.source ?? null;
  const queryOf = (limit: number | null, from: Micros | null): Query =>
    isMarket
      ? marketTicks({
          ...span,
          from,
          symbol,
          providers,
          after: after?.kind === 'market' ? after : null,
          rowsMax: limit,
        })
      : webhookTicks({ ...span, from, symbol, source, after: after?.kind === 'webhook' ? after : null });
  const page = (client: Client, limit: number): Promise<Page> => {
    if (span.order === 'oldest first') return readPage(client, queryOf(limit, span.from), limit);
    const before = after?.ts ?? clock.nowMicros();
    return readNewest(client, { before, rowsMax: limit, needsMore: true }, (from) => queryOf(limit, from));
  };
  return {
    identity,
    asked,
    rows: {
      columns: queryOf(null, null).columns,
      page: (limit) => reading.run((client) => page(client, limit)),
      all: () => reading.stream((client) => readBatches(client, queryOf(null, span.from))),
    },
    keyOf: (last) => ({
      kind: String(last['kind']),
      ts: String(last['ts']),
      ...(isMarket ? { provider: String(last['provider']) } : { source: String(last['source']) }),
      seq: String(last['seq']),
    }),
  };
}
