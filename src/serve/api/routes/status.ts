import { z } from 'zod';
import { statusItem } from '../status-item.ts';
import type { StatusLook } from '../status-look.ts';
import type { Api, Routes } from '../routes.ts';

/** /v1/status. */
export function statusRoutes(look: StatusLook): Routes {
  return (api: Api): void => {
    api.get(
      '/v1/status',
      {
        config: { scope: 'read', isFrequent: true },
        schema: {
          operationId: 'status',
          summary: 'what is stored, what is missing, who writes, who reads the bus',
          description:
            'At most a second old. Without the bus it is answered all the same; without the database it is 503.',
          tags: ['service'],
          querystring: z.strictObject({}),
          response: { 200: statusItem },
        },
      },
      () => look.item(),
    );
  };
}
