import type { FastifyRequest } from 'fastify';
import type { Env } from '../../../core/env.ts';
import type { LiveFeed } from '../../live/feed.ts';
import type { AccessControl, Principal } from '../access.ts';
import { ApiError } from '../errors.ts';
import type { LongConnections } from './connections.ts';
import type { TicketHolder, Tickets } from './tickets.ts';

/** What the routes of the live path share. */
export class LiveApi {
  readonly feed: LiveFeed;
  readonly connections: LongConnections;
  readonly tickets: Tickets;
  readonly env: Env;
  readonly #access: AccessControl;
  /** of requests that came with a ticket */
  readonly #holders = new WeakMap<FastifyRequest, TicketHolder>();

  constructor(parts: {
    feed: LiveFeed;
    connections: LongConnections;
    tickets: Tickets;
    access: AccessControl;
    env: Env;
  }) {
    this.feed = parts.feed;
    this.connections = parts.connections;
    this.tickets = parts.tickets;
    this.env = parts.env;
    this.#access = parts.access;
  }

  /** For `config.ticket` of a route. @throws ApiError unauthorized */
  readonly byTicket = (request: FastifyRequest): Principal | null => {
    const { ticket } = request.query as { ticket?: unknown };
    if (ticket === undefined) return null;
    const holder = typeof ticket === 'string' ? this.tickets.redeem(ticket) : null;
    if (holder === null)
      throw new ApiError('unauthorized', 'the ticket is not valid: it is good once, for 30 s');
    this.#holders.set(request, holder);
    return holder.principal;
  };

  /** Whose the request is, for as long as its connection lasts. */
  holderOf(request: FastifyRequest): TicketHolder {
    const known = this.#holders.get(request);
    if (known !== undefined) return known;
    const { principal } = request;
    const token = /^Bearer +(\S+)/i.exec(request.headers.authorization ?? '')?.[1];
    const access = this.#access;
    const isValid = token === undefined ? () => access.isOpen : () => access.authenticate(token) !== null;
    return { principal, isValid };
  }
}
