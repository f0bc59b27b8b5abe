import { z } from 'zod';
import { PAGE_ROWS, PAGE_ROWS_MAX, REPLAY_SOURCES, SPEED_MAX } from '../../core/replay/request.ts';
import { JOB_STATUSES } from '../../store/queries/jobs.ts';

/** Bodies and answers of the routes of replays. */

const time = z.string().max(64).meta({ description: 'ISO-8601; UTC without a zone.' });
const shownTime = z
  .string()
  .regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/)
  .meta({ format: 'date-time' });

export const speed = z.number().min(0).max(SPEED_MAX).meta({
  description: '1.0 is as it was, 10.0 ten times as fast, 0.0 as fast as the bus takes it.',
});

const REQUEST = {
  provider: z.string().max(64).optional().meta({ description: 'Whose ticks; or providers.' }),
  providers: z.array(z.string().max(64)).min(1).max(100).optional(),
  symbols: z.array(z.string().max(128)).min(1).max(1_000),
  speed: speed.optional().meta({ description: 'Default 1.0.' }),
  sources: z
    .array(z.enum(REPLAY_SOURCES))
    .min(1)
    .optional()
    .meta({ description: 'Tables that are merged by time. Default: tick_data.' }),
  interval: z.string().max(16).optional().meta({ description: 'Of the source bars: 1m.' }),
  max_batch_size: z
    .int()
    .min(1)
    .max(PAGE_ROWS_MAX)
    .optional()
    .meta({ description: `Rows that are read at once. Default ${PAGE_ROWS}.` }),
  topic: z
    .string()
    .max(200)
    .optional()
    .meta({ description: 'Where events go. Default: that of market events.' }),
  repair: z
    .boolean()
    .optional()
    .meta({ description: 'Also fill live bars within the range that are missing or have fewer ticks.' }),
};

export const startBody = z.strictObject({ ...REQUEST, start: time, end: time }).meta({
  id: 'ReplayRequest',
  description: 'What is replayed, and how',
  example: {
    provider: 'ibkr',
    symbols: ['NVDA', 'AAPL'],
    start: '2025-11-03T14:00:00Z',
    end: '2025-11-03T15:00:00Z',
    speed: 10,
  },
});

export const speedBody = z.strictObject({ speed });
export const seekBody = z.strictObject({ to: time });

export const replayRun = z
  .object({
    run_id: z.int(),
    job_name: z.literal('tick_replay'),
    provider: z.string().nullable().meta({ description: 'null: several, which metadata.providers names.' }),
    status: z.enum(JOB_STATUSES),
    symbols: z.array(z.string()),
    rows_written: z.int().meta({ description: 'Ticks emitted so far.' }),
    min_ts: shownTime.meta({ description: 'Where the range begins.' }),
    max_ts: shownTime.nullable().meta({ description: 'Of the last tick emitted.' }),
    started_at: shownTime,
    completed_at: shownTime.nullable(),
    error_message: z.string().nullable(),
    metadata: z.record(z.string(), z.unknown()).meta({
      description:
        'speed, start, end, sources, topic; digest (SHA-256 of what was emitted) once it has succeeded.',
    }),
  })
  .meta({ id: 'Replay', description: 'A replay of stored ticks' });

export const replayList = z.object({
  items: z.array(replayRun),
  next: z.string().nullable().meta({ description: 'Cursor of the next page; null: this is the last one.' }),
});

const scheduleRequest = z
  .strictObject({
    ...REQUEST,
    start: time.optional(),
    end: time.optional(),
    last: z.string().max(32).optional().meta({
      description: 'In place of start and end: the time of this length before it is due, such as 24h.',
    }),
  })
  .meta({ id: 'ScheduledReplay', description: 'What a schedule replays' });

export const scheduleBody = z
  .strictObject({
    name: z.string().max(128),
    cron: z.string().max(200).meta({ description: 'Minute, hour, day of month, month, weekday.' }),
    timezone: z.string().max(64).optional().meta({ description: 'Default UTC.' }),
    request: scheduleRequest,
  })
  .meta({
    id: 'NewSchedule',
    description: 'When which replay is started',
    example: {
      name: 'nightly',
      cron: '30 22 * * 1-5',
      request: { provider: 'ibkr', symbols: ['SPY'], last: '24h', speed: 0 },
    },
  });

export const enabledBody = z.strictObject({ enabled: z.boolean() });

export const schedule = z
  .object({
    id: z.int(),
    name: z.string(),
    cron: z.string(),
    timezone: z.string(),
    enabled: z.boolean(),
    request: z.record(z.string(), z.unknown()),
    next_at: shownTime.nullable().meta({ description: 'null: never again.' }),
    last_at: shownTime.nullable(),
    last_run_id: z.int().nullable(),
    created_at: shownTime,
  })
  .meta({ id: 'Schedule', description: 'When which replay is started' });

export const scheduleList = z.object({ items: z.array(schedule) });
