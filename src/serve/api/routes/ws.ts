import websocket, { type WebSocket } from '@fastify/websocket';
import type { FastifyRequest } from 'fastify';
import { LiveIdError } from '../../live/source.ts';
import type { Subscriber } from '../../live/subscriber.ts';
import { wsFrames } from '../live/encode.ts';
import type { LiveApi } from '../live/live-api.ts';
import { StreamSink } from '../live/sink.ts';
import { filterOf, fromOf, liveQuery, type LiveQuery } from '../live/subscription.ts';
import type { Api, Routes } from '../routes.ts';

/** Nothing is expected of a client but answers to pings. */
const PAYLOAD_BYTES_MAX = 1_024;
const POLICY_VIOLATION = 1008;
const INTERNAL = 1011;
const NORMAL = 1000;

/** GET /v1/ws: the same as /v1/stream over a WebSocket, one JSON message an event. */
export function wsRoutes(live: LiveApi): Routes {
  return async (api: Api): Promise<void> => {
    await api.register(websocket, { options: { maxPayload: PAYLOAD_BYTES_MAX, perMessageDeflate: false } });
    api.get(
      '/v1/ws',
      {
        config: { scope: 'read', ticket: live.byTicket },
        websocket: true,
        // what is wrong is said before the connection becomes a WebSocket
        preHandler: (request, _reply, done) => {
          const query = request.query;
          filterOf(query);
          fromOf(query, request);
          live.connections.admit(live.holderOf(request).principal.name);
          done();
        },
        schema: {
          operationId: 'ws',
          summary: 'the same over a WebSocket: messages {id, event, data}',
          tags: ['live'],
          querystring: liveQuery,
        },
      },
      (socket, request) => void serve(live, request.query, request, socket),
    );
  };
}

async function serve(
  live: LiveApi,
  query: LiveQuery,
  request: FastifyRequest,
  socket: WebSocket,
): Promise<void> {
  const { connections, feed, env } = live;
  const holder = live.holderOf(request);
  const ending = new AbortController();
  const stream = request.raw.socket;
  let subscriber: Subscriber | null = null;
  let isAlive = true;
  socket.on('pong', () => (isAlive = true));
  socket.on('error', () => ending.abort());
  socket.on('close', () => ending.abort());
  const connection = {
    name: holder.principal.name,
    isValid: holder.isValid,
    beat: () => {
      if (!isAlive && stream.writableLength === 0) {
        socket.terminate();
        return;
      }
      isAlive = false;
      socket.ping();
      const id = subscriber?.idleId ?? null;
      if (id !== null && stream.writableLength === 0)
        socket.send(JSON.stringify({ id, event: 'heartbeat', data: {} }));
    },
    end: (reason: string) => {
      ending.abort();
      socket.close(POLICY_VIOLATION, reason);
    },
  };
  connections.add(connection);
  let code = NORMAL;
  let reason = 'resume from the last id';
  try {
    const sink = new StreamSink(stream, wsFrames, ending.signal);
    const [filter, from] = [filterOf(query), fromOf(query, request)];
    await feed.subscribe(
      { topic: query.topic, filter, from, sink, signal: ending.signal, opened: () => {} },
      (known) => (subscriber = known),
    );
  } catch (error) {
    code = error instanceof LiveIdError ? POLICY_VIOLATION : INTERNAL;
    reason = error instanceof LiveIdError ? error.message : 'what it reads failed: resume from the last id';
    if (code === INTERNAL)
      env.log('warn', 'A live stream ends: what it reads failed', { topic: query.topic, err: error });
  } finally {
    connections.remove(connection);
  }
  socket.close(code, reason);
}
