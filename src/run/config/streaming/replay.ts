/** The section `replay`: how many run at once, and the datasets that have a name. */
import { z } from 'zod';
import { REPLAY_SOURCES } from '../../../core/replay/request.ts';
import { parseInterval } from '../../../core/market/interval.ts';

const name = z
  .string()
  .regex(/^[A-Za-z0-9._-]{1,64}$/, 'must be 1-64 letters, digits, dots, hyphens, underscores');
const provider = z.string().regex(/^[!-{}~]{1,64}$/, 'must be 1-64 characters of 0x21-0x7E without |');

/** @param symbol of events */
export function replaySection(symbol: z.ZodType<string>) {
  const dataset = z
    .strictObject({
      providers: z.array(provider).min(1).max(100),
      symbols: z.array(symbol).min(1).max(1_000),
      sources: z.array(z.enum(REPLAY_SOURCES)).min(1).default(['tick_data']),
      interval: z
        .string()
        .refine((text) => parseInterval(text) !== null, 'must be such as 2s, 1m, 1h')
        .optional(),
    })
    .refine(
      ({ sources, interval }) => sources.includes('bars') === (interval !== undefined),
      'needs interval with the source bars, and with no other',
    );
  return z.strictObject({
    runs_max: z.int().min(1).max(64).default(4),
    datasets: z.record(name, dataset).default({
      spy_1day_history: {
        providers: ['ibkr_primary', 'synthetic'],
        symbols: ['SPY'],
        sources: ['tick_data'],
      },
    }),
  });
}
