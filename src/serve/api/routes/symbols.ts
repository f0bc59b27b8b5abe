import { z } from 'zod';
import { marketSymbols, webhookSymbols, type SymbolKey } from '../../../store/queries/symbols.ts';
import { answerList } from '../answer.ts';
import { ApiError, errorResponses } from '../errors.ts';
import { itemOf, listOf } from '../items.ts';
import { format, PAGE, provider } from '../parameters.ts';
import { listOfQuery } from '../query-list.ts';
import type { Reading } from '../reading.ts';
import type { Api, Routes } from '../routes.ts';

const SYMBOLS = z.strictObject({
  kind: z
    .enum(['market', 'webhook'])
    .default('market')
    .meta({ description: 'Of market ticks, or of those that came by the webhook.' }),
  provider: provider.optional().meta({ description: 'Of market ticks: of this provider.' }),
  ...PAGE,
  format,
});

const item = itemOf(marketSymbols(null, null).columns, {
  id: 'Symbol',
  description: 'What there are ticks of; the provider of webhook ticks is null',
  nullable: ['provider'],
});
const key: z.ZodType<SymbolKey> = z.strictObject({ provider: z.string(), symbol: z.string() });

/** /v1/symbols. */
export function symbolRoutes(reading: Reading): Routes {
  return (api: Api): void => {
    api.get(
      '/v1/symbols',
      {
        config: { scope: 'read' },
        schema: {
          operationId: 'symbols',
          summary: 'what there are ticks of',
          tags: ['ticks'],
          querystring: SYMBOLS,
          response: {
            200: listOf(item, 'Providers and symbols, in order.'),
            ...errorResponses('not_acceptable'),
          },
        },
      },
      (request, reply) => {
        const asked = request.query;
        if (asked.kind === 'webhook' && asked.provider !== undefined)
          throw new ApiError('bad_request', 'the parameters contradict each other', {
            details: [{ path: 'query.provider', message: 'is of market ticks' }],
          });
        const list = listOfQuery({
          reading,
          route: 'symbols',
          asked,
          key,
          keyOf: ({ provider, symbol }) => ({
            provider: String(provider ?? ''),
            symbol: String(symbol),
          }),
          query: (after) =>
            asked.kind === 'market' ? marketSymbols(asked.provider ?? null, after) : webhookSymbols(after),
        });
        return answerList(request, reply, list);
      },
    );
  };
}
