import { z } from 'zod';
import { parseInterval } from '../../../core/market/interval.ts';
import {
  barColumns,
  barHistory,
  barHistoryColumns,
  bars,
  type BarPosition,
  type BarsFilter,
} from '../../../store/queries/bars.ts';
import { answerList, type List } from '../answer.ts';
import { errorResponses } from '../errors.ts';
import { itemOf, listOf } from '../items.ts';
import { format, keyMicros, keyNumber, PAGE, provider, rowId, symbol, time } from '../parameters.ts';
import { listOfQuery } from '../query-list.ts';
import type { Reading } from '../reading.ts';
import type { Api, Routes } from '../routes.ts';

const OF = {
  provider,
  symbol,
  interval: z
    .string()
    .refine((text) => parseInterval(text) !== null, { message: 'is no interval such as 1m, 5m, 1h or 1d' })
    .default('1m')
    .meta({ description: 'Length of the windows.', examples: ['1m', '1h'] }),
  start: time.optional().meta({ description: 'Windows that begin at this time or later.' }),
  end: time.optional().meta({ description: 'Windows that begin before this time.' }),
  order: z.enum(['asc', 'desc']).default('asc').meta({ description: 'By time.' }),
};
const BARS = z.strictObject({
  ...OF,
  run: rowId.optional().meta({ description: 'Of a replay: its run id. Default: live bars.' }),
  ...PAGE,
  format,
});
const HISTORY = z.strictObject({ ...OF, ...PAGE, format });

const SAMPLE: BarsFilter = {
  provider: '',
  symbol: '',
  interval: '',
  from: null,
  to: null,
  order: 'oldest first',
};
const NULLABLE = ['vwap', 'volume'];
const barItem = itemOf(barColumns(SAMPLE), {
  id: 'Bar',
  description: 'The ticks of a window, which is half-open: [ts, ts + interval)',
  nullable: NULLABLE,
});
const replacedItem = itemOf(barHistoryColumns(SAMPLE), {
  id: 'ReplacedBar',
  description: 'A version of a bar that a correction replaced',
  nullable: NULLABLE,
});

const key: z.ZodType<BarPosition> = z.strictObject({ ts: keyMicros, revision: keyNumber });
const keyOf: List['keyOf'] = ({ ts, revision }) => ({ ts: String(ts), revision: String(revision) });

/** /v1/bars and /v1/bars/history. */
export function barRoutes(reading: Reading): Routes {
  return (api: Api): void => {
    const config = { scope: 'read', isFrequent: true } as const;
    const errors = errorResponses('not_acceptable');
    api.get(
      '/v1/bars',
      {
        config,
        schema: {
          operationId: 'bars',
          summary: 'bars of a symbol',
          tags: ['bars'],
          querystring: BARS,
          response: { 200: listOf(barItem, 'Bars by the start of their windows.'), ...errors },
        },
      },
      (request, reply) => {
        const asked = request.query;
        const query = (after: BarPosition | null) => bars(filterOf(asked), asked.run ?? null, after);
        return answerList(request, reply, listOfQuery({ reading, route: 'bars', asked, key, keyOf, query }));
      },
    );
    api.get(
      '/v1/bars/history',
      {
        config,
        schema: {
          operationId: 'barHistory',
          summary: 'versions of bars that corrections replaced',
          tags: ['bars'],
          querystring: HISTORY,
          response: { 200: listOf(replacedItem, 'Replaced versions, by window and revision.'), ...errors },
        },
      },
      (request, reply) => {
        const asked = request.query;
        const query = (after: BarPosition | null) => barHistory(filterOf(asked), after);
        return answerList(
          request,
          reply,
          listOfQuery({ reading, route: 'bars/history', asked, key, keyOf, query }),
        );
      },
    );
  };
}

function filterOf({ provider, symbol, interval, start, end, order }: z.output<typeof HISTORY>): BarsFilter {
  return {
    provider,
    symbol,
    interval,
    from: start ?? null,
    to: end ?? null,
    order: order === 'asc' ? 'oldest first' : 'newest first',
  };
}
