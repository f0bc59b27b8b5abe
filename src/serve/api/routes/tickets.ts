import { z } from 'zod';
import { ApiError, errorResponses } from '../errors.ts';
import type { LiveApi } from '../live/live-api.ts';
import { TICKET_SECONDS } from '../live/tickets.ts';
import type { Api, Routes } from '../routes.ts';

/** POST /v1/tickets: for browsers, whose EventSource and WebSocket send no header of ours. */
export function ticketRoutes(live: LiveApi): Routes {
  return (api: Api): void => {
    api.post(
      '/v1/tickets',
      {
        config: { scope: 'read' },
        schema: {
          operationId: 'createTicket',
          summary: 'a ticket for one connection of the live path',
          description: `Goes into the address of /v1/stream or /v1/ws as \`ticket\`; good once, within ${TICKET_SECONDS} seconds.`,
          tags: ['live'],
          response: {
            201: z.object({ ticket: z.string(), expires_in: z.int() }).meta({
              id: 'Ticket',
              description: 'A ticket, and the seconds for which it is good',
            }),
            ...errorResponses('too_many_requests'),
          },
        },
      },
      (request, reply) => {
        const ticket = live.tickets.issue(live.holderOf(request));
        if (ticket === null)
          throw new ApiError('too_many_requests', 'too many tickets are unused', {
            retryAfterSeconds: TICKET_SECONDS,
          });
        reply.code(201);
        return { ticket, expires_in: TICKET_SECONDS };
      },
    );
  };
}
