import { z } from 'zod';
import { readSingleTick } from '../../../store/chain/single-tick.ts';
import { inSnapshot } from '../../../store/postgres/transaction.ts';
import {
  CHAIN_TICK_COLUMNS,
  chainTickBatches,
  readChainTicks,
  readCompleteUpTo,
  transactionsByHash,
} from '../../../store/queries/chain.ts';
import { readPage } from '../../../store/queries/query.ts';
import { jsonPage } from '../../format/json.ts';
import { answerList, answerTagged } from '../answer.ts';
import { chainTick, chainTickJson, chainTickRow, chainTransaction } from '../chain-item.ts';
import { decodeCursor, identityOf } from '../cursor.ts';
import { ApiError, errorResponses } from '../errors.ts';
import { listOf } from '../items.ts';
import { formatFor } from '../media.ts';
import { format, keyNumber, PAGE, tickNumber } from '../parameters.ts';
import type { Reading } from '../reading.ts';
import type { Api, Routes } from '../routes.ts';

const TICKS = z.strictObject({
  from: tickNumber.default(0n).meta({ description: 'The first number.' }),
  to: tickNumber.default(2n ** 63n - 1n).meta({ description: 'The number behind the last one.' }),
  ...PAGE,
  format,
});
const key = z.strictObject({ number: keyNumber });
const UNCHANGED = z.null().meta({ description: 'As it was under this ETag.' });
/** More places of one transaction are left out. */
const PLACES_MAX = 1000;

/** /v1/chain/ticks, one tick, and transactions by their hash. */
export function chainRoutes(reading: Reading): Routes {
  return (api: Api): void => {
    listRoute(api, reading);
    tickRoute(api, reading);
    transactionRoute(api, reading);
  };
}

const config = { scope: 'read', isFrequent: true } as const;
const tags = ['chain'];

function listRoute(api: Api, reading: Reading): void {
  api.get(
    '/v1/chain/ticks',
    {
      config,
      schema: {
        operationId: 'chainTicks',
        summary: 'ticks of the chain by number',
        tags,
        querystring: TICKS,
        response: { 200: listOf(chainTickRow, 'Ticks by number.'), ...errorResponses('not_acceptable') },
      },
    },
    (request, reply) => {
      const asked = request.query;
      const { cursor, from, to } = asked;
      const identity = identityOf('chain/ticks', asked);
      const first = cursor === undefined ? from : decodeCursor(cursor, identity, key).number + 1n;
      return answerList(request, reply, {
        identity,
        asked,
        rows: {
          columns: CHAIN_TICK_COLUMNS,
          page: (limit) => reading.run((client) => readChainTicks(client, first, to, limit)),
          all: () => reading.stream((client) => chainTickBatches(client, first, to)),
        },
        keyOf: (last) => ({ number: String(last['tick_number']) }),
      });
    },
  );
}

function tickRoute(api: Api, reading: Reading): void {
  api.get(
    '/v1/chain/ticks/:number',
    {
      config,
      schema: {
        operationId: 'chainTick',
        summary: 'a tick of the chain with its proof and its transactions',
        description: 'Up to complete_up_to its content cannot change: it may be kept.',
        tags,
        params: z.object({ number: tickNumber }),
        response: {
          200: chainTick,
          304: UNCHANGED,
          ...errorResponses('not_found', 'not_acceptable'),
        },
      },
    },
    async (request, reply) => {
      formatFor(undefined, request.headers.accept, ['json']);
      const { number } = request.params;
      const { tick, completeUpTo } = await reading.run((client) =>
        inSnapshot(client, async () => ({
          tick: await readSingleTick(client, number),
          completeUpTo: await readCompleteUpTo(client),
        })),
      );
      if (tick === null || tick === 'in part') throw new ApiError('not_found', 'this tick is not stored');
      const isFinal = completeUpTo !== null && number <= completeUpTo;
      return answerTagged(request, reply, chainTickJson(tick), isFinal ? 'unchanging' : 'asked again');
    },
  );
}

function transactionRoute(api: Api, reading: Reading): void {
  api.get(
    '/v1/chain/transactions/:hash',
    {
      config,
      schema: {
        operationId: 'chainTransactions',
        summary: 'a transaction by its hash, wherever it was ordered',
        tags,
        params: z.object({
          hash: z
            .string()
            .regex(/^[\dA-Fa-f]{1,128}$/)
            .meta({ description: 'As it is stored, or in small letters.' }),
        }),
        querystring: z.strictObject({ format }),
        response: {
          200: listOf(chainTransaction, 'One item, or one for each time that it was ordered.'),
          304: UNCHANGED,
          ...errorResponses('not_found', 'not_acceptable'),
        },
      },
    },
    async (request, reply) => {
      const asked = request.query;
      const isJson = formatFor(asked.format, request.headers.accept) === 'json';
      const query = transactionsByHash(request.params.hash);
      const page = await reading.run((client) => readPage(client, query, PLACES_MAX));
      if (page.batch.rows === 0) throw new ApiError('not_found', 'this transaction is not stored');
      if (isJson) return answerTagged(request, reply, jsonPage(page.batch, null), 'asked again');
      const rows = { columns: query.columns, page: () => Promise.resolve(page), all: () => [] as never };
      return answerList(request, reply, {
        identity: '',
        asked,
        rows,
        keyOf: () => ({}),
        limitDefault: PLACES_MAX,
      });
    },
  );
}
