import { z } from 'zod';
import { DEAD_LETTER_COLUMNS, deadLetters } from '../../../store/queries/dead-letters.ts';
import { answerList } from '../answer.ts';
import { errorResponses } from '../errors.ts';
import { itemOf, listOf } from '../items.ts';
import { format, keyNumber, PAGE, word } from '../parameters.ts';
import { listOfQuery } from '../query-list.ts';
import type { Reading } from '../reading.ts';
import type { Api, Routes } from '../routes.ts';

const DEAD_LETTERS = z.strictObject({
  source: z
    .enum(['chain'])
    .default('chain')
    .meta({ description: 'chain: frames that could not become a tick.' }),
  status: z.enum(['open', 'resolved']).optional(),
  reason: word.optional(),
  ...PAGE,
  format,
});
const item = itemOf(DEAD_LETTER_COLUMNS, {
  id: 'DeadLetter',
  description: 'A frame that could not become a tick',
  nullable: ['tick_number', 'after_tick', 'detail', 'sqlstate', 'resolved_at'],
});
const key = z.strictObject({ id: keyNumber });

/** /v1/dead-letters. */
export function deadLetterRoutes(reading: Reading): Routes {
  return (api: Api): void => {
    api.get(
      '/v1/dead-letters',
      {
        config: { scope: 'read' },
        schema: {
          operationId: 'deadLetters',
          summary: 'what could not be stored, the newest first',
          tags: ['chain'],
          querystring: DEAD_LETTERS,
          response: {
            200: listOf(item, 'Dead letters, the newest first.'),
            ...errorResponses('not_acceptable'),
          },
        },
      },
      (request, reply) => {
        const asked = request.query;
        const filter = { status: asked.status ?? null, reason: asked.reason ?? null };
        const list = listOfQuery({
          reading,
          route: 'dead-letters',
          asked,
          key,
          keyOf: (last) => ({ id: String(last['dead_letter_id']) }),
          query: (after) => deadLetters(filter, after?.id ?? null),
        });
        return answerList(request, reply, list);
      },
    );
  };
}
