import { z } from 'zod';
import type { Micros } from '../../../core/time.ts';
import { readPage } from '../../../store/queries/query.ts';
import { mergedRange, rangeAt, rangeColumns, rangesWithin } from '../../../store/queries/ranges.ts';
import { answerList, answerTagged } from '../answer.ts';
import { ApiError, errorResponses } from '../errors.ts';
import { itemOf, listOf } from '../items.ts';
import { jsonPage } from '../../format/json.ts';
import { formatFor } from '../media.ts';
import { format, keyMicros, PAGE, symbol, time } from '../parameters.ts';
import { listOfQuery } from '../query-list.ts';
import type { Reading } from '../reading.ts';
import type { Api, Routes } from '../routes.ts';

const RANGES = z.strictObject({
  symbol,
  at: time.optional().meta({ description: 'The range that covers this time: one item, or none.' }),
  start: time.optional().meta({ description: 'Ranges that share a moment with [start, end).' }),
  end: time.optional(),
  merge: z
    .enum(['true', 'false'])
    .default('false')
    .meta({ description: 'With start and end: all of them as one item.' }),
  ...PAGE,
  format,
});

const item = itemOf(rangeColumns(''), {
  id: 'Range',
  description: 'What the webhook ticks of [start, end) amount to',
});
const key: z.ZodType<{ start: Micros }> = z.strictObject({ start: keyMicros });

/** /v1/ranges. */
export function rangeRoutes(reading: Reading): Routes {
  return (api: Api): void => {
    api.get(
      '/v1/ranges',
      {
        config: { scope: 'read', isFrequent: true },
        schema: {
          operationId: 'ranges',
          summary: 'minutes of webhook ticks: the one at a time, or those of a span',
          tags: ['ticks'],
          querystring: RANGES,
          response: {
            200: listOf(item, 'Ranges by their start. A late tick changes its minute: the ETag tells.'),
            304: z.null().meta({ description: 'As it was under this ETag.' }),
            ...errorResponses('not_acceptable'),
          },
        },
      },
      async (request, reply) => {
        const asked = request.query;
        const { symbol, merge } = asked;
        const wanted = wantedOf(asked);
        if (wanted.kind === 'within' && merge === 'false') {
          const { from, to } = wanted;
          const list = listOfQuery({
            reading,
            route: 'ranges',
            asked,
            key,
            keyOf: ({ start }) => ({ start: String(start) }),
            query: (after) => rangesWithin(symbol, from, to, after?.start ?? null),
          });
          return answerList(request, reply, list);
        }
        if (asked.cursor !== undefined)
          throw refusal('query.cursor', 'is of no use: there is one item at most');
        const query =
          wanted.kind === 'at' ? rangeAt(symbol, wanted.at) : mergedRange(symbol, wanted.from, wanted.to);
        const page = await reading.run((client) => readPage(client, query, 1));
        if (formatFor(asked.format, request.headers.accept) === 'json')
          return answerTagged(request, reply, jsonPage(page.batch, null), 'asked again');
        const rows = { columns: query.columns, page: () => Promise.resolve(page), all: () => [] as never };
        return answerList(request, reply, { identity: '', asked, rows, keyOf: () => ({}), limitDefault: 1 });
      },
    );
  };
}

type Wanted = { kind: 'at'; at: Micros } | { kind: 'within'; from: Micros; to: Micros };

/** @throws ApiError where both are given, or none */
function wantedOf({ at, start, end, merge }: z.output<typeof RANGES>): Wanted {
  if (at !== undefined) {
    if (start !== undefined || end !== undefined) throw refusal('query.at', 'goes without start and end');
    if (merge === 'true') throw refusal('query.merge', 'goes with start and end');
    return { kind: 'at', at };
  }
  if (start === undefined || end === undefined)
    throw refusal(start === undefined ? 'query.start' : 'query.end', 'is missing: give at, or start and end');
  return { kind: 'within', from: start, to: end };
}

function refusal(path: string, message: string): ApiError {
  return new ApiError('bad_request', 'ranges are found by a time, or by a span of time', {
    details: [{ path, message }],
  });
}
