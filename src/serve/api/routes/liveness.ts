import { z } from 'zod';
import type { Api } from '../routes.ts';

/** For load balancers: the process answers. Everybody may ask. */
export function livenessRoutes(api: Api): void {
  api.get(
    '/health',
    {
      config: { scope: null },
      schema: {
        operationId: 'health',
        summary: 'whether the process answers',
        tags: ['service'],
        security: [],
        response: { 200: z.object({ status: z.literal('ok') }) },
      },
    },
    () => ({ status: 'ok' as const }),
  );
}
