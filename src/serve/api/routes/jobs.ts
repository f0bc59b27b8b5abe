import { z } from 'zod';
import { job, JOB_COLUMNS, JOB_STATUSES, jobs } from '../../../store/queries/jobs.ts';
import { readPage } from '../../../store/queries/query.ts';
import { answerList, answerOne } from '../answer.ts';
import { errorResponses } from '../errors.ts';
import { itemOf, listOf, oneOf } from '../items.ts';
import { format, keyNumber, PAGE, rowId, word } from '../parameters.ts';
import { listOfQuery } from '../query-list.ts';
import type { Reading } from '../reading.ts';
import type { Api, Routes } from '../routes.ts';

const JOBS = z.strictObject({
  name: word.optional().meta({ description: 'job_name: tick_consumer, micro_batch, tick_replay and so on.' }),
  status: z.enum(JOB_STATUSES).optional(),
  ...PAGE,
  format,
});
export const jobItem = itemOf(JOB_COLUMNS, {
  id: 'Job',
  description: 'A run of a consumer, producer, replay, export and so on',
  nullable: ['provider', 'symbols', 'min_ts', 'max_ts', 'completed_at', 'error_message'],
});
const key = z.strictObject({ id: keyNumber });

/** /v1/jobs and /v1/jobs/{id}. */
export function jobRoutes(reading: Reading): Routes {
  return (api: Api): void => {
    const config = { scope: 'read' } as const;
    const tags = ['service'];
    api.get(
      '/v1/jobs',
      {
        config,
        schema: {
          operationId: 'jobs',
          summary: 'runs, the newest first',
          tags,
          querystring: JOBS,
          response: { 200: listOf(jobItem, 'Runs, the newest first.'), ...errorResponses('not_acceptable') },
        },
      },
      (request, reply) => {
        const asked = request.query;
        const filter = { name: asked.name ?? null, status: asked.status ?? null };
        const list = listOfQuery({
          reading,
          route: 'jobs',
          asked,
          key,
          keyOf: (last) => ({ id: String(last['id']) }),
          query: (after) => jobs(filter, after?.id ?? null),
        });
        return answerList(request, reply, list);
      },
    );
    api.get(
      '/v1/jobs/:id',
      {
        config,
        schema: {
          operationId: 'job',
          summary: 'one run',
          tags,
          params: z.object({ id: rowId }),
          querystring: z.strictObject({ format }),
          response: { 200: oneOf(jobItem, 'The run.'), ...errorResponses('not_found', 'not_acceptable') },
        },
      },
      async (request, reply) => {
        const { batch } = await reading.run((client) => readPage(client, job(request.params.id), 1));
        return answerOne(request, reply, request.query, batch, 'there is no such run');
      },
    );
  };
}
