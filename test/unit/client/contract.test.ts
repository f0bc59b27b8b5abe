import { test, type Test } from 'tap';
import { systemClock } from '../../../src/core/time.ts';
import { envOf } from '../../../src/core/env.ts';
import { errorOf } from '../../../src/client/api-error.ts';
import {
  decodeChainTick,
  decodeTransaction,
  type ChainTickJson,
  type ChainTicksQuery,
  type TransactionJson,
} from '../../../src/client/chain.ts';
import { createClient, type Client } from '../../../src/client/exports.ts';
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
  type MarketTickJson,
  type RangesQuery,
  type Signal,
  type SignalsQuery,
  type StoredBarsQuery,
  type SymbolItem,
  type SymbolsQuery,
  type TickAggregate,
  type TickQuery,
  type TickRangeQuery,
  type WebhookTickJson,
} from '../../../src/client/market.ts';
import {
  decodeChainDeadLetter,
  decodeGap,
  decodeJob,
  type ChainDeadLetterJson,
  type ChainDeadLettersQuery,
  type GapJson,
  type GapsQuery,
  type Job,
  type JobsQuery,
} from '../../../src/client/operations.ts';
import { NO_PROVIDERS } from '../../../src/core/market/identity/providers.ts';
import type { ReadPool } from '../../../src/store/queries/read-pool.ts';
import { NO_LATEST } from '../../../src/serve/api/latest-ticks.ts';
import { ingestRoutes } from '../../../src/serve/api/routes/ingest.ts';
import { queryRoutes } from '../../../src/serve/api/routes/queries.ts';
import { buildApi } from '../../../src/serve/api/server.ts';
import { json, ScriptedFetch } from './scripted-fetch.ts';

/**
 * What the client's types say, written so that the compiler refuses a member too many or too few, and compared with the
 * description that the server makes of its own schemas: either side that changes alone fails here.
 */
interface Sample {
  /** every member with a value */
  full: object;
  /** the members that may be null */
  nulls: object;
  decode: (item: unknown) => object;
}

type Nullable<T> = { [K in keyof T]: unknown extends T[K] ? never : null extends T[K] ? K : never }[keyof T];

function sample<T extends object>(
  decode: (item: unknown) => object,
  full: { [K in keyof Required<T>]: Exclude<T[K], null> },
  nulls: { [K in Nullable<T>]: null },
): Sample {
  return { full, nulls, decode };
}

const TIME = '2026-01-01T00:00:00.000000Z';
const MARKET_TICK = {
  provider: 'p',
  symbol: 'A',
  ts: TIME,
  price: 1,
  size: 1,
  bid: 1,
  ask: 1,
  side: 1,
  seq: '7',
};
const BAR = {
  provider: 'p',
  symbol: 'A',
  interval: '1m',
  ts: TIME,
  open: 1,
  high: 1,
  low: 1,
  close: 1,
  volume: 1,
  vwap: 1,
  tick_count: 1,
  first_ts: TIME,
  last_ts: TIME,
  is_final: true,
  revision: 0,
  updated_at: TIME,
};
const CHAIN_TICK = {
  tick_number: '7',
  timestamp: TIME,
  batch_hash: 'ab',
  previous_output: 'ab',
  vdf_input: 'ab',
  vdf_output: 'ab',
  vdf_proof: 'ab',
  vdf_iterations: '7',
};
const AGGREGATE = {
  symbol: 'A',
  start: TIME,
  end: TIME,
  open: 1,
  high: 1,
  low: 1,
  close: '1.10',
  volume: 1,
  count: 1,
};

/** By their names in the description. */
const SAMPLES: Readonly<Record<string, Sample>> = {
  MarketTick: sample<MarketTickJson>(
    decodeTick,
    { kind: 'market', ...MARKET_TICK },
    { size: null, bid: null, ask: null, side: null },
  ),
  StoredWebhookTick: sample<WebhookTickJson>(
    decodeTick,
    { kind: 'webhook', source: 's', symbol: 'A', ts: TIME, price: '1.10', volume: 1, seq: '7' },
    {},
  ),
  Symbol: sample<SymbolItem>(decodeSymbol, { provider: 'p', symbol: 'A' }, { provider: null }),
  Bar: sample<Bar>(decodeBar, BAR, { volume: null, vwap: null }),
  ReplacedBar: sample<FormerBar>(
    decodeFormerBar,
    { ...BAR, replaced_at: TIME },
    { volume: null, vwap: null },
  ),
  Signal: sample<Signal>(
    decodeSignal,
    {
      provider: 'p',
      symbol: 'A',
      ts: TIME,
      name: 'n',
      value: 1,
      score: 1,
      metadata: {},
      replay_run_id: 0,
      created_at: TIME,
    },
    { score: null },
  ),
  Range: sample<TickAggregate>(decodeAggregate, AGGREGATE, {}),
  ChainTickRow: sample<ChainTickJson>(decodeChainTick, CHAIN_TICK, { previous_output: null }),
  ChainTransaction: sample<TransactionJson>(
    decodeTransaction,
    {
      tx_hash: 'ab',
      tick_number: '7',
      sequence_number: '7',
      tx_id: 't',
      tx_id_hex: 'ab',
      payload: 'ab',
      signature: 'ab',
      public_key: 'ab',
      nonce: '7',
      timestamp_us: '7',
      ingestion_timestamp: TIME,
      tick_timestamp: TIME,
    },
    { tx_id: null },
  ),
  Gap: sample<GapJson>(
    decodeGap,
    {
      gap_id: 1,
      first_tick: '7',
      last_tick: '7',
      state: 'open',
      detected_at: TIME,
      closed_at: TIME,
      attempts: 1,
      last_error: 'e',
    },
    { closed_at: null, last_error: null },
  ),
  DeadLetter: sample<ChainDeadLetterJson>(
    decodeChainDeadLetter,
    {
      dead_letter_id: 1,
      tick_number: '7',
      after_tick: '7',
      reason: 'r',
      detail: 'd',
      sqlstate: '22000',
      bytes: 1,
      raw_sha256: 'ab',
      status: 'open',
      created_at: TIME,
      resolved_at: TIME,
    },
    { tick_number: null, after_tick: null, detail: null, sqlstate: null, resolved_at: null },
  ),
  Job: sample<Job>(
    decodeJob,
    {
      id: 1,
      job_name: 'j',
      provider: 'p',
      status: 'running',
      symbols: ['A'],
      rows_written: 1,
      min_ts: TIME,
      max_ts: TIME,
      started_at: TIME,
      completed_at: TIME,
      heartbeat_at: TIME,
      error_message: 'e',
      metadata: {},
    },
    { provider: null, symbols: null, min_ts: null, max_ts: null, completed_at: null, error_message: null },
  ),
};

const SPAN = { start: TIME, end: TIME } as const;
const OF_BAR: Required<BarsQuery> = { provider: 'p', symbol: 'A', interval: '1m', ...SPAN, order: 'asc' };

/** A call of each route with everything that it can be given. */
const CALLS: Readonly<Record<string, (client: Client) => Promise<unknown>>> = {
  '/v1/ticks/{symbol}/latest': (client) =>
    client.latest('A', { kind: 'market', provider: 'p', source: 's' } satisfies Required<TickQuery>),
  '/v1/ticks/{symbol}/recent': (client) =>
    client.recent('A', { kind: 'market', provider: 'p', source: 's' } satisfies Required<TickQuery>).page(),
  '/v1/ticks/{symbol}/range': (client) =>
    client
      .range('A', { kind: 'market', provider: 'p', source: 's', ...SPAN } satisfies Required<TickRangeQuery>)
      .page(),
  '/v1/symbols': (client) =>
    client.symbols({ kind: 'market', provider: 'p' } satisfies Required<SymbolsQuery>).page(),
  '/v1/bars': (client) => client.bars({ ...OF_BAR, run: 1 } satisfies Required<StoredBarsQuery>).page(),
  '/v1/bars/history': (client) => client.barsHistory(OF_BAR).page(),
  '/v1/signals': (client) =>
    client
      .signals({
        provider: 'p',
        symbol: 'A',
        name: 'n',
        ...SPAN,
        run: 1,
        order: 'asc',
      } satisfies Required<SignalsQuery>)
      .page(),
  '/v1/ranges': async (client) => {
    await client.ranges({ symbol: 'A', ...SPAN } satisfies Required<RangesQuery>).page();
    await client.rangeAt('A', TIME);
    await client.mergedRange({ symbol: 'A', ...SPAN });
  },
  '/v1/chain/ticks': (client) =>
    client.chainTicks({ from: 1, to: 2n } satisfies Required<ChainTicksQuery>).page(),
  '/v1/chain/ticks/{number}': (client) => client.chainTick(1),
  '/v1/chain/transactions/{hash}': (client) => client.transactions('ab').page(),
  '/v1/gaps': (client) => client.gaps({ state: 'open', from: 1, to: 2 } satisfies Required<GapsQuery>).page(),
  '/v1/dead-letters': (client) =>
    client.chainDeadLetters({ status: 'open', reason: 'r' } satisfies Required<ChainDeadLettersQuery>).page(),
  '/v1/jobs': (client) => client.jobs({ name: 'j', status: 'running' } satisfies Required<JobsQuery>).page(),
  '/v1/jobs/{id}': (client) => client.job(1),
};

/** of other ways to have the same: an option of Listing, or none of a client's concern */
const NOT_QUERIES = new Set(['limit', 'cursor', 'format']);

interface Schema {
  type?: string | string[];
  const?: unknown;
  anyOf?: Schema[];
  pattern?: string;
  properties?: Record<string, Schema>;
  required?: string[];
  enum?: string[];
}

interface Description {
  components: { schemas: Record<string, Schema> };
  paths: Record<string, Record<string, { parameters?: { in: string; name: string }[] }>>;
}

async function describe(t: Test): Promise<Description> {
  const app = await buildApi({
    access: { isOpen: true, anonymous: { name: 'anonymous', scopes: new Set() }, authenticate: () => null },
    routes: [
      ...queryRoutes({ pool: {} as ReadPool, latest: NO_LATEST, clock: systemClock }),
      ingestRoutes({ accept: () => Promise.reject(new Error('nobody asks')) }, NO_PROVIDERS),
    ],
    version: '0',
    env: envOf(),
  });
  t.after(() => app.close());
  return app.swagger() as unknown as Description;
}

function variants(schema: Schema): Schema[] {
  return schema.anyOf?.flatMap(variants) ?? [schema];
}

/** As typeof and null tell them apart; empty: anything. */
function typesOf(schema: Schema): Set<string> {
  const types = variants(schema).map(
    ({ type, const: only }) => type ?? (only === undefined ? null : typeof only),
  );
  if (types.includes(null)) return new Set();
  return new Set(
    types.flat().map((type) => (type === 'integer' ? 'number' : type === 'array' ? 'object' : String(type))),
  );
}

void test('items have the members that the server describes, of the same types, null where it says so', async (t) => {
  const { components } = await describe(t);
  for (const [name, { full, nulls, decode }] of Object.entries(SAMPLES)) {
    const { properties = {}, required = [] } = components.schemas[name] ?? {};
    t.strictSame(Object.keys(full).sort(), Object.keys(properties).sort(), name);
    t.strictSame([...required].sort(), Object.keys(properties).sort(), `${name}: all are always there`);
    const decoded = decode({ ...full }) as Record<string, unknown>;
    for (const [member, value] of Object.entries(full)) {
      const schema = properties[member] ?? {};
      const types = typesOf(schema);
      if (types.size === 0) continue;
      t.ok(types.has(typeof value), `${name}.${member} is ${[...types].join('|')}`);
      t.equal(types.has('null'), member in nulls, `${name}.${member} may be null, or may not`);
      const isWide = variants(schema).some(({ pattern }) =>
        /^\^(-\?)?\\d\{1,(19|20)\}\$$/.test(pattern ?? ''),
      );
      t.equal(typeof decoded[member] === 'bigint', isWide, `${name}.${member} is a bigint, or is none`);
    }
  }
});

const page = (): Response => json({ items: [], next: null, transactions: [] });

void test('each route is called with the parameters that it has', async (t) => {
  const { paths } = await describe(t);
  const described = Object.keys(paths).filter(
    (path) => path.startsWith('/v1/') && paths[path]['get'] !== undefined,
  );
  t.strictSame(Object.keys(CALLS).sort(), described.sort(), 'every route has its method in the client');
  for (const [path, call] of Object.entries(CALLS)) {
    const script = new ScriptedFetch(page, page, page);
    await call(createClient({ url: 'http://server', fetch: script.fetch }));
    const parameters = (paths[path]?.['get']?.parameters ?? []).filter(({ in: where }) => where === 'query');
    const sent = new Set(script.sent.flatMap(({ url }) => [...url.searchParams.keys()]));
    const names = parameters.map(({ name }) => name).filter((name) => !NOT_QUERIES.has(name));
    t.strictSame([...sent].sort(), names.sort(), path);
    const pattern = new RegExp(`^${path.replaceAll(/\{\w+\}/g, '[^/]+')}$`);
    t.ok(
      script.sent.every(({ url }) => pattern.test(url.pathname)),
      path,
    );
  }
});

void test('errors have the server’s words', async (t) => {
  const { components } = await describe(t);
  const codes = components.schemas['Error']?.properties?.['error']?.properties?.['code']?.enum ?? [];
  t.ok(codes.length > 10);
  for (const code of codes) {
    const told = { error: { code, message: 'm', request_id: 'r' } };
    t.equal((await errorOf(json(told, { status: 418 }))).code, code);
  }
});
