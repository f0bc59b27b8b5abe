import { validatorCompiler } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { Providers } from '../../../core/market/identity/providers.ts';
import { parseWebhookBody, WEBHOOK_TICKS_MAX, type WebhookTick } from '../../../core/market/webhook-tick.ts';
import { ApiError } from '../errors.ts';
import type { Api, Routes } from '../routes.ts';

/** Where accepted ticks go: onto the bus, before anybody is told that they were taken. */
export interface TickIntake {
  /**
   * Resolves once all are on the bus. Rejects with an error whose `kind` is a word of INTAKE_TROUBLE; some may be there then,
   * and sent again they are the same.
   */
  accept(ticks: readonly WebhookTick[]): Promise<void>;
}

/** Why ticks were not taken, and after how many seconds it is worth another attempt. */
const INTAKE_TROUBLE: Readonly<Record<string, { message: string; retryAfterSeconds: number }>> = {
  full: { message: 'the bus is full: nothing was taken', retryAfterSeconds: 5 },
  unreachable: { message: 'the bus does not answer: send the same ticks again', retryAfterSeconds: 2 },
  timeout: { message: 'the bus did not answer in time: send the same ticks again', retryAfterSeconds: 2 },
  setup: { message: 'the bus cannot be used: send the same ticks again', retryAfterSeconds: 30 },
};

const DECIMAL_TEXT = /^-?(0|[1-9]\d{0,18})(\.\d{1,18})?$/;

const tick = z
  .strictObject({
    symbol: z
      .string()
      .regex(/^[!-{}~]{1,128}$/)
      .meta({ description: 'Upper-cased by the ASCII rule, or as `providers:` of the source says.' }),
    ts: z
      .union([
        z.iso.datetime({ local: true, offset: true, error: 'is no time' }),
        z.int().min(946_684_800_000_000).max(4_102_444_799_999_999),
      ])
      .meta({
        description: 'ISO-8601 (UTC without a zone) or whole microseconds since 1970, within [2000, 2100).',
      }),
    price: z
      .union([z.number(), z.string().regex(DECIMAL_TEXT)])
      .meta({ description: 'Kept with all its digits, up to 38.' }),
    volume: z
      .union([z.number().min(0), z.string().regex(/^(0|[1-9]\d{0,18})(\.\d{1,18})?$/)])
      .meta({ description: 'The same, not below 0.' }),
    source: z
      .string()
      .regex(/^[!-{}~]{1,64}$/)
      .meta({ description: 'Who says so; the provider where ticks are forwarded.' }),
    seq: z
      .union([z.int().min(0), z.string().regex(/^(0|[1-9]\d{0,17})$/)])
      .optional()
      .meta({ description: 'Tells ticks of one source, symbol and microsecond apart.' }),
  })
  .meta({
    id: 'WebhookTick',
    description: 'A tick as a feeder sends it',
    example: {
      symbol: 'BTCUSD',
      ts: '2025-10-31T10:00:00.000000Z',
      price: '113250.10',
      volume: '0.025',
      source: 'feeder',
      seq: 1,
    },
  });

/** POST /ingest/tick: ticks onto the bus before the answer, all of a request or none. */
export function ingestRoutes(intake: TickIntake, providers: Providers): Routes {
  return (api: Api): void => {
    api.post(
      '/ingest/tick',
      {
        config: {
          scope: 'ingest',
          needsCredential: true,
          takes: ['api_key', 'signature'],
          takesText: true,
          isFrequent: true,
        },
        schema: {
          operationId: 'ingestTicks',
          summary: 'take one tick or many',
          description:
            'All ticks of a request or none. 200: they are on the bus, and will be in md_ticks. 503: nothing is promised; send the same again after Retry-After, a tick that was there already is not there twice.',
          tags: ['webhook'],
          body: z.union([tick, z.array(tick).max(WEBHOOK_TICKS_MAX)]),
          response: {
            200: z
              .object({ accepted: z.int().min(0) })
              .meta({ description: 'So many ticks were taken.', example: { accepted: 1 } }),
          },
        },
        // the body is read by parseWebhookBody, which keeps all digits: the schema only describes it
        validatorCompiler: (part) =>
          part.httpPart === 'body'
            ? (value) => ({ value: value as unknown })
            : validatorCompiler(part as never),
      },
      async ({ body: text }) => {
        const ticks = ticksOf(text, providers);
        await intake.accept(ticks).catch((error: unknown) => {
          throw troubleOf(error);
        });
        return { accepted: ticks.length };
      },
    );
  };
}

/** @throws ApiError with the place of each mistake */
function ticksOf(text: unknown, providers: Providers): WebhookTick[] {
  if (typeof text !== 'string') throw new ApiError('bad_request', 'the body is missing');
  const read = parseWebhookBody(text, providers);
  if (read.kind === 'ticks') return read.ticks;
  const details = read.problems.map(({ path, message }) => ({
    path: path === '' ? 'body' : `body${path.startsWith('[') ? '' : '.'}${path}`,
    message,
  }));
  throw new ApiError('bad_request', 'no tick was taken: some are not as they must be', { details });
}

function troubleOf(error: unknown): unknown {
  const trouble = INTAKE_TROUBLE[String((error as { kind?: unknown }).kind)];
  if (trouble === undefined) return error;
  const { message, retryAfterSeconds } = trouble;
  return new ApiError('unavailable', message, { retryAfterSeconds, cause: error });
}
