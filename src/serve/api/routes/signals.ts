import { z } from 'zod';
import { SIGNAL_COLUMNS, signals, type SignalKey } from '../../../store/queries/signals.ts';
import { answerList } from '../answer.ts';
import { ApiError, errorResponses } from '../errors.ts';
import { itemOf, listOf } from '../items.ts';
import { format, keyMicros, PAGE, provider, rowId, symbol, time, word } from '../parameters.ts';
import { listOfQuery } from '../query-list.ts';
import type { Reading } from '../reading.ts';
import type { Api, Routes } from '../routes.ts';

const SIGNALS = z.strictObject({
  provider: provider.optional(),
  symbol: symbol.optional(),
  name: word.optional().meta({ description: 'Name of the signals. Needed where no symbol is given.' }),
  start: time.optional().meta({ description: 'At this time or later.' }),
  end: time.optional().meta({ description: 'Before this time.' }),
  run: rowId.optional().meta({ description: 'Of a replay: its run id. Default: live signals.' }),
  order: z.enum(['asc', 'desc']).default('desc').meta({ description: 'By time.' }),
  ...PAGE,
  format,
});

const item = itemOf(SIGNAL_COLUMNS, {
  id: 'Signal',
  description: 'What a rule, a model or the signal consumer said',
  nullable: ['score', 'metadata'],
});
const key: z.ZodType<SignalKey> = z.strictObject({
  ts: keyMicros,
  provider: z.string(),
  symbol: z.string(),
  name: z.string(),
});

/** /v1/signals. */
export function signalRoutes(reading: Reading): Routes {
  return (api: Api): void => {
    api.get(
      '/v1/signals',
      {
        config: { scope: 'read', isFrequent: true },
        schema: {
          operationId: 'signals',
          summary: 'signals of a symbol, or of a name',
          tags: ['signals'],
          querystring: SIGNALS,
          response: { 200: listOf(item, 'Signals by time.'), ...errorResponses('not_acceptable') },
        },
      },
      (request, reply) => {
        const asked = request.query;
        const of = symbolOf(asked);
        const list = listOfQuery({
          reading,
          route: 'signals',
          asked,
          key,
          keyOf: ({ ts, provider, symbol, name }) => ({
            ts: String(ts),
            provider: String(provider),
            symbol: String(symbol),
            name: String(name),
          }),
          query: (after) =>
            signals({
              of,
              name: asked.name ?? null,
              run: asked.run ?? 0n,
              from: asked.start ?? null,
              to: asked.end ?? null,
              order: asked.order === 'asc' ? 'oldest first' : 'newest first',
              after,
            }),
        });
        return answerList(request, reply, list);
      },
    );
  };
}

/** Either both or none; then a name. @throws ApiError */
function symbolOf({
  provider,
  symbol,
  name,
}: z.output<typeof SIGNALS>): { provider: string; symbol: string } | null {
  if (provider !== undefined && symbol !== undefined) return { provider, symbol };
  if (provider === undefined && symbol === undefined && name !== undefined) return null;
  const path = provider === undefined ? 'query.provider' : 'query.symbol';
  throw new ApiError('bad_request', 'signals are found by provider and symbol, or by name', {
    details: [{ path, message: 'is missing' }],
  });
}
