import { z } from 'zod';

/** What /v1/status answers. Names are those of `tick-ingester status --json`. */

const time = z.string().meta({ format: 'date-time' });
const int64 = z.string().regex(/^-?\d{1,19}$/);
const u64 = z.string().regex(/^\d{1,20}$/);

const group = z
  .object({
    topic: z.string(),
    group: z.string(),
    partition: z.int().meta({ description: '-1: what is put under the topic’s own name and moved on.' }),
    members: z.int(),
    pending: z.int().meta({ description: 'Records handed out and not acknowledged.' }),
    lag: z.int().nullable().meta({ description: 'Records not handed out yet; null: the bus cannot say.' }),
    lag_ms: z
      .number()
      .meta({ description: 'Age of the oldest record that is not acknowledged, ms; 0: there is none.' }),
    idle_ms: z.number().nullable().meta({ description: 'Since a member was seen, ms; null: unknown.' }),
    acknowledged: z.string().nullable().meta({ description: 'Everything up to here is; null: nothing.' }),
  })
  .meta({ id: 'StatusGroup', description: 'A consumer group of a topic, in one partition' });

const bus = z
  .object({
    kind: z.enum(['redis', 'kafka', 'postgres']),
    topics: z.array(z.string()),
    groups: z.array(group),
  })
  .meta({ id: 'StatusBus', description: 'Who reads the bus, and how far' });

export const BUS_TROUBLES = ['unreachable', 'full', 'refused', 'setup', 'timeout'] as const;

export const statusItem = z
  .object({
    now: time.meta({ description: 'The database’s clock.' }),
    chain_id: z.string().nullable(),
    origin: int64.nullable(),
    position: int64.nullable(),
    complete_up_to: int64.nullable(),
    floor: int64.nullable().meta({ description: 'The lowest tick that is kept; null: nothing was dropped.' }),
    newest_timestamp: time.nullable(),
    gaps: z.array(z.object({ state: z.string(), ranges: z.int(), ticks: u64 })),
    open_gaps: z.array(
      z.object({
        first: int64,
        last: int64,
        attempts: z.int(),
        last_error: z.string().nullable(),
        next_attempt: time.nullable(),
      }),
    ),
    dead_letters: z.array(z.object({ status: z.string(), reason: z.string(), count: z.int() })),
    halt: z.object({ kind: z.string(), reason: z.string(), since: time }).nullable(),
    leader: z.object({ holder: z.string(), epoch: int64, live: z.boolean(), since: time }).nullable(),
    edition: z.object({
      edition: z.enum(['plain', 'apache', 'community']),
      postgres: z.string(),
      timescale: z.string().nullable(),
      usable: z.boolean(),
    }),
    schema: z
      .object({ applied: z.array(z.string()), behind: z.array(z.string()), unknown: z.array(z.string()) })
      .meta({ description: 'Files of the schema; unknown: of a newer version than this program.' }),
    bus: bus.nullable().meta({ description: 'null: it does not answer; bus_error says why.' }),
    bus_error: z.enum(BUS_TROUBLES).nullable(),
  })
  .meta({ id: 'Status', description: 'What is stored, what is missing, who writes, who reads' });

export type StatusItem = z.output<typeof statusItem>;
