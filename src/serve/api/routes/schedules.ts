import { z } from 'zod';
import type { Replays } from '../../replay/replays.ts';
import { errorResponses } from '../errors.ts';
import { orRefusal } from '../replay-refusal.ts';
import { enabledBody, schedule, scheduleBody, scheduleList } from '../replay-schemas.ts';
import type { Api, Routes } from '../routes.ts';

const TAGS = ['replay'];
const READ = { scope: 'read' } as const;
const REPLAY = { scope: 'replay' } as const;
const params = z.object({ name: z.string().regex(/^[A-Za-z0-9._-]{1,128}$/) });

/** /v1/schedules: replays at the times of a cron expression. */
export function scheduleRoutes(replays: Replays): Routes {
  return (api: Api): void => {
    api.post(
      '/v1/schedules',
      {
        config: REPLAY,
        schema: {
          operationId: 'addSchedule',
          summary: 'add a schedule of replays',
          tags: TAGS,
          body: scheduleBody,
          response: {
            200: schedule.meta({ description: 'The schedule. 409: there is one of this name.' }),
            ...errorResponses('not_found', 'conflict'),
          },
        },
      },
      ({ body }) => orRefusal(replays.addSchedule(body)),
    );
    api.get(
      '/v1/schedules',
      {
        config: READ,
        schema: {
          operationId: 'schedules',
          summary: 'schedules of replays',
          tags: TAGS,
          response: { 200: scheduleList },
        },
      },
      async () => ({ items: await orRefusal(replays.schedules()) }),
    );
    api.get(
      '/v1/schedules/:name',
      {
        config: READ,
        schema: {
          operationId: 'schedule',
          summary: 'one schedule',
          tags: TAGS,
          params,
          response: { 200: schedule, ...errorResponses('not_found') },
        },
      },
      ({ params: { name } }) => orRefusal(replays.schedule(name)),
    );
    api.patch(
      '/v1/schedules/:name',
      {
        config: REPLAY,
        schema: {
          operationId: 'enableSchedule',
          summary: 'let a schedule start runs, or keep it from that',
          tags: TAGS,
          params,
          body: enabledBody,
          response: { 200: schedule, ...errorResponses('not_found') },
        },
      },
      ({ params: { name }, body: { enabled } }) => orRefusal(replays.enableSchedule(name, enabled)),
    );
    api.delete(
      '/v1/schedules/:name',
      {
        config: REPLAY,
        schema: {
          operationId: 'removeSchedule',
          summary: 'remove a schedule; its runs stay',
          tags: TAGS,
          params,
          response: {
            200: z.object({ removed: z.string() }).meta({ description: 'Its name.' }),
            ...errorResponses('not_found'),
          },
        },
      },
      async ({ params: { name } }) => {
        await orRefusal(replays.removeSchedule(name));
        return { removed: name };
      },
    );
  };
}
