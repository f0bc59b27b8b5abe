import { z } from 'zod';
import { GAP_COLUMNS, GAP_STATES, gaps, type GapKey } from '../../../store/queries/gaps.ts';
import { answerList } from '../answer.ts';
import { errorResponses } from '../errors.ts';
import { itemOf, listOf } from '../items.ts';
import { format, keyNumber, PAGE, tickNumber } from '../parameters.ts';
import { listOfQuery } from '../query-list.ts';
import type { Reading } from '../reading.ts';
import type { Api, Routes } from '../routes.ts';

const GAPS = z.strictObject({
  state: z.enum(GAP_STATES).optional(),
  from: tickNumber.optional().meta({ description: 'Gaps that share a number with [from, to).' }),
  to: tickNumber.optional(),
  ...PAGE,
  format,
});
const item = itemOf(GAP_COLUMNS, {
  id: 'Gap',
  description: 'Numbers of the chain that were not there when they were due',
  nullable: ['closed_at', 'last_error'],
});
const key: z.ZodType<GapKey> = z.strictObject({ first: keyNumber, id: keyNumber });

/** /v1/gaps. */
export function gapRoutes(reading: Reading): Routes {
  return (api: Api): void => {
    api.get(
      '/v1/gaps',
      {
        config: { scope: 'read' },
        schema: {
          operationId: 'gaps',
          summary: 'gaps of the chain, open and closed',
          tags: ['chain'],
          querystring: GAPS,
          response: {
            200: listOf(item, 'Gaps in the order of the chain.'),
            ...errorResponses('not_acceptable'),
          },
        },
      },
      (request, reply) => {
        const asked = request.query;
        const filter = { state: asked.state ?? null, from: asked.from ?? null, to: asked.to ?? null };
        const list = listOfQuery({
          reading,
          route: 'gaps',
          asked,
          key,
          keyOf: (last) => ({ first: String(last['first_tick']), id: String(last['gap_id']) }),
          query: (after) => gaps(filter, after),
        });
        return answerList(request, reply, list);
      },
    );
  };
}
