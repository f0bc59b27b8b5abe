import { z } from 'zod';
import type { Batch } from '../../../core/table/batch.ts';
import { batchOfRows } from '../../../core/table/row-batch.ts';
import { deadLetter, DEAD_LETTER_COLUMNS, deadLetters } from '../../../store/queries/dead-letters.ts';
import { readPage } from '../../../store/queries/query.ts';
import { findDeadLetter, listDeadLetters } from '../../../stream/dead-letters/list.ts';
import type { Place } from '../../../stream/dead-letters/topic.ts';
import { answerList, answerOne, type List } from '../answer.ts';
import { BUS_DEAD_LETTER_COLUMNS, busDeadLetter, busDeadLetterRow } from '../bus-dead-letter-item.ts';
import type { BusReading } from '../bus-reading.ts';
import { decodeCursor, identityOf } from '../cursor.ts';
import { errorResponses } from '../errors.ts';
import { itemOf, listOf, oneOf } from '../items.ts';
import { format, keyNumber, LIMIT_MAX, PAGE, rowId, word } from '../parameters.ts';
import { listOfQuery } from '../query-list.ts';
import type { Reading } from '../reading.ts';
import type { Api, Routes } from '../routes.ts';

const DEAD_LETTERS = z.strictObject({
  source: z.enum(['chain', 'bus']).default('chain').meta({
    description: 'chain: frames that could not become a tick. bus: records that could not be used.',
  }),
  status: z.enum(['open', 'resolved', 'all']).default('all'),
  reason: word.optional(),
  ...PAGE,
  format,
});
type Asked = z.output<typeof DEAD_LETTERS>;

const NULLABLE = ['tick_number', 'after_tick', 'detail', 'sqlstate', 'resolved_at'];
const chainDeadLetter = itemOf(DEAD_LETTER_COLUMNS, {
  id: 'DeadLetter',
  description: 'A frame that could not become a tick',
  nullable: NULLABLE,
});

const raw = z.string().meta({ description: 'The bytes, in base64.', contentEncoding: 'base64' });
const whole = z.union([
  z
    .object({ ...chainDeadLetter.shape, raw })
    .meta({ id: 'DeadLetterWithBytes', description: 'A frame that could not become a tick, and its bytes' }),
  z.object({ ...busDeadLetter.shape, raw }).meta({
    id: 'BusDeadLetterWithBytes',
    description:
      'A record of the bus that could not be used, and its bytes; the first 700 KiB where it is cut',
  }),
]);

const chainKey = z.strictObject({ id: keyNumber });

/** Of the chain a number, of the bus topic|msg_id: its event_id. */
const id = z
  .string()
  .max(512)
  .refine((text) => text.includes('|') || rowId.safeParse(text).success, {
    message: 'is neither a number (of the chain) nor topic|msg_id (of the bus)',
  })
  .meta({ description: 'Of the chain a number, of the bus its event_id, topic|msg_id.', examples: ['17'] });

/** /v1/dead-letters and /v1/dead-letters/{id}. */
export function deadLetterRoutes(reading: Reading, busReading: BusReading): Routes {
  return (api: Api): void => {
    const config = { scope: 'read' } as const;
    const tags = ['chain'];
    api.get(
      '/v1/dead-letters',
      {
        config,
        schema: {
          operationId: 'deadLetters',
          summary: 'what could not be stored or used, the newest first',
          tags,
          querystring: DEAD_LETTERS,
          response: {
            200: listOf(z.union([chainDeadLetter, busDeadLetter]), 'Dead letters, the newest first.'),
            ...errorResponses('not_acceptable'),
          },
        },
      },
      (request, reply) => {
        const asked = request.query;
        const list = asked.source === 'bus' ? ofBus(busReading, asked) : ofChain(reading, asked);
        return answerList(request, reply, list);
      },
    );
    api.get(
      '/v1/dead-letters/:id',
      {
        config,
        schema: {
          operationId: 'deadLetter',
          summary: 'one of them, with its bytes',
          tags,
          params: z.object({ id }),
          querystring: z.strictObject({ format }),
          response: {
            200: oneOf(whole, 'The dead letter.'),
            ...errorResponses('not_found', 'not_acceptable'),
          },
        },
      },
      async (request, reply) => {
        const { id } = request.params;
        const batch = id.includes('|')
          ? await readBusDeadLetter(busReading, id)
          : (await reading.run((client) => readPage(client, deadLetter(BigInt(id)), 1))).batch;
        return answerOne(request, reply, request.query, batch, 'there is no such dead letter');
      },
    );
  };
}

function ofChain(reading: Reading, asked: Asked): List {
  const filter = { status: asked.status === 'all' ? null : asked.status, reason: asked.reason ?? null };
  return listOfQuery({
    reading,
    route: 'dead-letters',
    asked,
    key: chainKey,
    keyOf: (last) => ({ id: String(last['dead_letter_id']) }),
    query: (after) => deadLetters(filter, after?.id ?? null),
  });
}

/** Every page is one reading of the whole topic, so there is no list without an end. */
function ofBus(reading: BusReading, asked: Asked): List {
  const identity = identityOf('dead-letters', asked);
  const before = asked.cursor === undefined ? null : decodeCursor(asked.cursor, identity, keyOfBus(reading));
  let last: Place | null = null;
  const page = async (limit: number): ReturnType<List['rows']['page']> => {
    const { status, reason = null } = asked;
    const { deadLetters, total } = await reading.run((bus, signal) =>
      listDeadLetters(bus, { status, reason, before, limit }, signal),
    );
    last = deadLetters.at(-1)?.place ?? null;
    const batch = batchOfRows(BUS_DEAD_LETTER_COLUMNS, deadLetters.map(busDeadLetterRow));
    return { batch, hasMore: total > deadLetters.length };
  };
  return {
    identity,
    asked,
    keyOf: () => ({ partition: String(last?.partition), position: String(last?.position) }),
    limitDefault: LIMIT_MAX,
    rows: { columns: BUS_DEAD_LETTER_COLUMNS, page, all: () => [] as never },
  };
}

/** Positions of redis are two numbers, those of the others one. */
function keyOfBus({ bus }: BusReading): z.ZodType<Place> {
  const position = bus.kind === 'redis' ? /^\d{1,20}-\d{1,20}$/ : /^\d{1,19}$/;
  return z.strictObject({
    partition: z
      .string()
      .regex(/^\d{1,9}$/)
      .transform(Number),
    position: z.string().regex(position),
  });
}

/** One row, or none. */
async function readBusDeadLetter(reading: BusReading, id: string): Promise<Batch> {
  const found = await reading.run((bus, signal) => findDeadLetter(bus, id, signal));
  const columns = [...BUS_DEAD_LETTER_COLUMNS, { name: 'raw', type: 'text' } as const];
  if (found === null) return batchOfRows(columns, []);
  const raw = Buffer.from(found.raw).toString('base64');
  return batchOfRows(columns, [{ ...busDeadLetterRow(found), raw }]);
}
