import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { errorResponses } from '../errors.ts';
import { LiveIdError } from '../../live/source.ts';
import type { Subscriber } from '../../live/subscriber.ts';
import { sseText } from '../live/encode.ts';
import type { LiveApi } from '../live/live-api.ts';
import { StreamSink } from '../live/sink.ts';
import { filterOf, fromOf, liveQuery, mistake, type LiveQuery } from '../live/subscription.ts';
import type { Api, Routes } from '../routes.ts';

/** A browser connects again after this long, ms. */
const RETRY_MS = 2_000;

/** GET /v1/stream: server-sent events. */
export function streamRoutes(live: LiveApi): Routes {
  return (api: Api): void => {
    api.get(
      '/v1/stream',
      {
        config: { scope: 'read', ticket: live.byTicket },
        schema: {
          operationId: 'stream',
          summary: 'follow ticks, bars, signals or the chain as server-sent events',
          description:
            'Each event has an id; Last-Event-ID resumes behind it, with no gap and no duplicate. `gap` and `lagged` say that something is not to be had any more; the stream ends behind them, and their id resumes.',
          tags: ['live'],
          querystring: liveQuery,
          headers: z.looseObject({ 'last-event-id': z.string().max(16_384).optional() }),
          response: {
            200: {
              description: 'Events, for as long as the connection lasts.',
              content: { 'text/event-stream': { schema: z.string() } },
            },
            ...errorResponses('bad_request', 'too_many_requests', 'unavailable'),
          },
        },
      },
      (request, reply) => serve(live, request.query, request, reply),
    );
  };
}

async function serve(
  live: LiveApi,
  query: LiveQuery,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> {
  const [filter, from, holder] = [filterOf(query), fromOf(query, request), live.holderOf(request)];
  const { connections, feed } = live;
  connections.admit(holder.principal.name);
  const ending = new AbortController();
  const { raw } = reply;
  raw.once('close', () => ending.abort());
  let subscriber: Subscriber | null = null;
  const connection = {
    name: holder.principal.name,
    isValid: holder.isValid,
    beat: () => {
      const id = subscriber?.idleId ?? null;
      if (raw.headersSent && raw.writableLength === 0)
        raw.write(`: heartbeat\n${id === null ? '' : `id: ${id}\n`}\n`);
    },
    end: () => {
      ending.abort();
      raw.end();
    },
  };
  connections.add(connection);
  try {
    const sink = new StreamSink(raw, sseText, ending.signal);
    const opened = (): void => {
      if (raw.headersSent || ending.signal.aborted) return;
      reply.hijack();
      raw.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'x-accel-buffering': 'no' });
      raw.write(`retry: ${RETRY_MS}\n\n`);
    };
    await feed.subscribe(
      { topic: query.topic, filter, from, sink, signal: ending.signal, opened },
      (known) => {
        subscriber = known;
      },
    );
  } catch (error) {
    if (error instanceof LiveIdError) throw mistake('from', error.message);
    if (!raw.headersSent) throw error;
    live.env.log('warn', 'A live stream ends: what it reads failed', { topic: query.topic, err: error });
  } finally {
    connections.remove(connection);
  }
  if (!raw.headersSent) reply.hijack();
  if (raw.headersSent) raw.end();
  else raw.destroy();
}
