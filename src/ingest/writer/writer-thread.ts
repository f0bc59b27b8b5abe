import type { Env, LogLevel } from '../../core/env.ts';
import type { Clock } from '../../core/time.ts';
import type { MessagePort } from 'node:worker_threads';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { BatchWrite } from '../../store/chain/batch.ts';
import { connect, parseDatabaseUrl } from '../../store/postgres/connect.ts';
import { threadStats, type ThreadStats } from '../thread-stats.ts';
import {
  BatchWriter,
  type Backend,
  type WriteAttempt,
  type WriteOutcome,
  type WriterHost,
  type WriterLimits,
} from './batch-writer.ts';
import type { DatabaseTrouble } from './trouble.ts';

/** workerData of a writer thread. */
export interface WriterSetup {
  index: number;
  databaseUrl: string;
  applicationName: string;
  limits: WriterLimits;
  /** backends that a dead predecessor may have left with an open transaction */
  orphans: Backend[];
}

export type ToWriter = ({ type: 'write'; batch: BatchWrite } & WriteAttempt) | { type: 'stop' };

export type FromWriter =
  | { type: 'done'; outcome: WriteOutcome }
  | { type: 'backend'; backend: Backend }
  | { type: 'database'; trouble: DatabaseTrouble | null }
  | { type: 'log'; level: LogLevel; message: string; fields: Record<string, unknown> }
  | { type: 'stats'; stats: WriterStats }
  | { type: 'stopped' };

export interface WriterStats extends ThreadStats {
  retries: number;
}

const STATS_MS = 500;

/** The writer thread: a BatchWriter behind a message port. */
export function runWriter(setup: WriterSetup, port: MessagePort, clock: Clock, random: () => number): void {
  const send = (message: FromWriter): void => port.postMessage(message);
  const options = parseDatabaseUrl(setup.databaseUrl);
  let retries = 0;
  let trouble = false;
  const env: Env = {
    log: (level, message, fields) =>
      send({ type: 'log', level, message, fields: { writer: setup.index, ...fields } }),
    clock,
    random,
  };
  const host: WriterHost = {
    connect: (onLost) => connect(options, { applicationName: setup.applicationName, onLost }),
    database: (state) => {
      if (state === null && !trouble) return;
      trouble = state !== null;
      send({ type: 'database', trouble: state });
    },
    retried: () => {
      retries += 1;
    },
    backend: (backend) => send({ type: 'backend', backend }),
  };
  const writer = new BatchWriter(setup.limits, env, host, setup.orphans);

  const write = async ({ batch, ...attempt }: { batch: BatchWrite } & WriteAttempt): Promise<void> => {
    send({ type: 'done', outcome: await writer.write(batch, attempt) });
  };
  const stop = async (): Promise<void> => {
    await writer.stop();
    send({ type: 'stopped' });
  };
  port.on('message', (message: ToWriter) => void (message.type === 'stop' ? stop() : write(message)));

  const delay = monitorEventLoopDelay();
  delay.enable();
  setInterval(() => send({ type: 'stats', stats: { ...threadStats(delay), retries } }), STATS_MS);
}
