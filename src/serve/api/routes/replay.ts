import { z } from 'zod';
import { JOB_STATUSES } from '../../../store/queries/jobs.ts';
import type { ReplayRunView } from '../../../store/replay/views.ts';
import type { ReplayOrder, Replays } from '../../replay/replays.ts';
import { decodeCursor, encodeCursor, identityOf } from '../cursor.ts';
import { errorResponses, type ErrorCode } from '../errors.ts';
import { keyNumber, PAGE, rowId } from '../parameters.ts';
import { orRefusal } from '../replay-refusal.ts';
import { replayList, replayRun, seekBody, speedBody, startBody } from '../replay-schemas.ts';
import type { Api, Routes } from '../routes.ts';

const TAGS = ['replay'];
const READ = { scope: 'read' } as const;
const REPLAY = { scope: 'replay' } as const;
const LIST = z.strictObject({ status: z.enum(JOB_STATUSES).optional(), ...PAGE });
const LIMIT_DEFAULT = 100;
const params = z.object({ run_id: rowId });
const key = z.strictObject({ id: keyNumber });

/** /v1/replay/ticks: replays of stored ticks. */
export function replayRoutes(replays: Replays): Routes {
  return (api: Api): void => {
    startAndLook(api, replays);
    orders(api, replays);
  };
}

function answers(description: string, ...errors: ErrorCode[]) {
  return { 200: replayRun.meta({ description }), ...errorResponses(...errors) };
}

function startAndLook(api: Api, replays: Replays): void {
  api.post(
    '/v1/replay/ticks',
    {
      config: REPLAY,
      schema: {
        operationId: 'startReplay',
        summary: 'start a replay',
        description:
          'Answered once it runs, or with status pending when every daemon has as many runs as it may. 404: nothing is stored of a symbol. 409: too many replays are open.',
        tags: TAGS,
        body: startBody,
        response: answers('The run.', 'not_found', 'conflict'),
      },
    },
    ({ body }) => orRefusal(replays.start(body)),
  );
  api.get(
    '/v1/replay/ticks',
    {
      config: READ,
      schema: {
        operationId: 'replays',
        summary: 'replays, the newest first',
        tags: TAGS,
        querystring: LIST,
        response: { 200: replayList },
      },
    },
    async ({ query }) => {
      const { status = null, cursor, limit = LIMIT_DEFAULT } = query;
      const identity = identityOf('replays', query);
      const before = cursor === undefined ? null : decodeCursor(cursor, identity, key).id;
      const found = await orRefusal(replays.list({ status, before, limit: limit + 1 }));
      const items = found.slice(0, limit);
      const last = found.length > limit ? items.at(-1) : undefined;
      return { items, next: last === undefined ? null : encodeCursor(identity, { id: `${last.run_id}` }) };
    },
  );
  api.get(
    '/v1/replay/ticks/:run_id',
    {
      config: READ,
      schema: {
        operationId: 'replay',
        summary: 'one replay',
        tags: TAGS,
        params,
        response: answers('The run.', 'not_found'),
      },
    },
    ({ params: { run_id } }) => orRefusal(replays.show(run_id)),
  );
}

function orders(api: Api, replays: Replays): void {
  const ordered = (runId: bigint, order: ReplayOrder): Promise<ReplayRunView> =>
    orRefusal(replays.order(runId, order));
  const simple = [
    ['pause', 'let a replay wait where it is'],
    ['resume', 'let a paused replay go on'],
    ['cancel', 'end a replay; what it has emitted stays'],
  ] as const;
  for (const [action, summary] of simple) {
    api.post(
      `/v1/replay/ticks/:run_id/${action}`,
      {
        config: REPLAY,
        schema: {
          operationId: `${action}Replay`,
          summary,
          tags: TAGS,
          params,
          response: answers('The run. 409: it has ended.', 'not_found', 'conflict'),
        },
      },
      ({ params: { run_id } }) => ordered(run_id, { action }),
    );
  }
  api.post(
    '/v1/replay/ticks/:run_id/speed',
    {
      config: REPLAY,
      schema: {
        operationId: 'changeReplaySpeed',
        summary: 'change the speed of a replay, also while it runs',
        tags: TAGS,
        params,
        body: speedBody,
        response: answers('The run. 409: it has ended.', 'not_found', 'conflict'),
      },
    },
    ({ params: { run_id }, body: { speed } }) => ordered(run_id, { action: 'change speed', speed }),
  );
  api.post(
    '/v1/replay/ticks/:run_id/seek',
    {
      config: REPLAY,
      schema: {
        operationId: 'seekReplay',
        summary: 'let a replay go on at another time of its range',
        tags: TAGS,
        params,
        body: seekBody,
        response: answers('The run. 409: it has ended.', 'not_found', 'conflict'),
      },
    },
    ({ params: { run_id }, body: { to } }) => ordered(run_id, { action: 'seek', to }),
  );
}
