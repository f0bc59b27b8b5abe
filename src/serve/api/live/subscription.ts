import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import { compileWhere } from '../../../stream/where.ts';
import { LIVE_TOPICS } from '../../live/feed.ts';
import type { LiveFilter } from '../../live/filter.ts';
import type { LiveFrom } from '../../live/source.ts';
import { ApiError } from '../errors.ts';
import { provider, symbol, time } from '../parameters.ts';

const SYMBOLS_MAX = 1_000;
const WHERE_CHARS_MAX = 2_000;
/** `t1b~…`: a letter for the topic, a version, a letter for what it is */
const ID = /^[a-z]\d[a-z]~/;
const FROM_CHARS_MAX = 4_096;

const symbols = z
  .string()
  .max(FROM_CHARS_MAX)
  .transform((text) => [...new Set(text.split(','))])
  .pipe(z.array(symbol).max(SYMBOLS_MAX))
  .meta({ description: 'Only these, separated by commas.', examples: ['SPY,AAPL'] });

/** What both ways into the live path take. */
export const liveQuery = z.strictObject({
  topic: z.enum(LIVE_TOPICS).meta({ description: 'What to follow.' }),
  symbols: symbols.optional(),
  provider: provider.optional(),
  where: z
    .string()
    .max(WHERE_CHARS_MAX)
    .optional()
    .meta({ description: 'CEL over the fields of an item.', examples: ['price > 100.0 && size >= 10.0'] }),
  from: z.string().max(FROM_CHARS_MAX).optional().meta({
    description:
      'A time (ISO-8601, or whole microseconds since 1970): what is stored from then on, and then what comes. Or an id: what comes behind it. Without it: what comes from now on.',
  }),
  ticket: z.string().max(64).optional().meta({ description: 'Of POST /v1/tickets, in place of a header.' }),
});

export type LiveQuery = z.output<typeof liveQuery>;

/** @throws ApiError bad_request */
export function filterOf({ symbols: names, provider: name, where }: LiveQuery): LiveFilter {
  const filter = { symbols: names ?? null, provider: name ?? null };
  if (where === undefined) return { ...filter, where: null };
  const matches = compileWhere(where, 'foreign');
  if (typeof matches === 'function') return { ...filter, where: { text: where, matches } };
  throw mistake('query.where', `${matches.problem} (at character ${matches.at + 1})`);
}

/** Last-Event-ID comes first: it is what a browser sends when it connects again. @throws ApiError bad_request */
export function fromOf({ from }: LiveQuery, request: FastifyRequest): LiveFrom {
  const last = request.headers['last-event-id'];
  if (typeof last === 'string' && last !== '') return { kind: 'id', id: last };
  if (from === undefined) return { kind: 'now' };
  if (ID.test(from)) return { kind: 'id', id: from };
  const parsed = time.safeParse(from);
  if (!parsed.success) throw mistake('query.from', 'is neither a time nor an id');
  return { kind: 'time', us: parsed.data };
}

export function mistake(path: string, message: string): ApiError {
  return new ApiError('bad_request', 'the request is not as the description says', {
    details: [{ path, message }],
  });
}
