import type { Env, LogLevel } from '../../core/env.ts';
import type { Clock } from '../../core/time.ts';
import type { MessagePort } from 'node:worker_threads';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { BatchWrite } from '../../store/chain/batch.ts';
import { connect, parseDatabaseUrl } from '../../store/postgres/connect.ts';
import { threadStats, type ThreadStats } from '../thread-stats.ts';
import { BatchWriter, type WriterHost, type WriterLimits } from './batch-writer.ts';
import type { Backend, Unconnected, WriteAttempt, WriteOutcome } from './outcome.ts';
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

export type ToWriter =
  | { type: 'write'; batch: BatchWrite; attempt: WriteAttempt }
  | { type: 'connect' }
  | { type: 'disconnect' }
  | { type: 'stop' };

export type FromWriter =
  | { type: 'done'; outcome: WriteOutcome }
  /** null: connected */
  | { type: 'tried'; failure: Unconnected | null }
  /** it has no connection any more, and no batch */
  | { type: 'lost' }
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
    lost: () => send({ type: 'lost' }),
    backend: (backend) => send({ type: 'backend', backend }),
  };
  const writer = new BatchWriter(setup.limits, env, host, setup.orphans);

  const answer = async (message: ToWriter): Promise<void> => {
    switch (message.type) {
      case 'write':
        send({ type: 'done', outcome: await writer.write(message.batch, message.attempt) });
        return;
      case 'connect':
        send({ type: 'tried', failure: await writer.connect() });
        return;
      case 'disconnect':
        await writer.disconnect();
        return;
      case 'stop':
        await writer.stop();
        send({ type: 'stopped' });
    }
  };
  port.on('message', (message: ToWriter) => void answer(message));

  const delay = monitorEventLoopDelay();
  delay.enable();
  setInterval(() => send({ type: 'stats', stats: { ...threadStats(delay), retries } }), STATS_MS);
}
