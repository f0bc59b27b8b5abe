import { envOf, type LogLevel, type LogLine } from '../../core/env.ts';
import type { MessagePort } from 'node:worker_threads';
import { MeterBuffer, type MeterEntry } from '../telemetry/meter-buffer.ts';
import { serializeError } from '../telemetry/log/serialized-error.ts';
import { buildStage } from './build.ts';
import type { StageSetup } from './stage-setup.ts';

export type ToStage = { type: 'stop' };

export type FromStage =
  | { type: 'log'; level: LogLevel; message: string; fields: Record<string, unknown> }
  /** also the heartbeat: sent every second */
  | { type: 'metrics'; entries: MeterEntry[] }
  /** it ended: null after `stop` */
  | { type: 'ended'; error: string | null };

const REPORT_MS = 1_000;

/** A stage in a worker thread: its log lines and metrics go to the main thread, `stop` comes from there. */
export function runStageThread(setup: StageSetup, port: MessagePort): void {
  const meter = new MeterBuffer();
  const post = (message: FromStage): void => port.postMessage(message);
  const log: LogLine = (level, message, fields) =>
    post({ type: 'log', level, message, fields: plain(fields) });
  const report = setInterval(() => post({ type: 'metrics', entries: meter.take() }), REPORT_MS);
  const stage = buildStage(setup, { env: envOf({ log }), meter });
  port.on('message', ({ type }: ToStage) => {
    if (type === 'stop') void stage.stop();
  });
  const end = (error: unknown): void => {
    clearInterval(report);
    post({ type: 'metrics', entries: meter.take() });
    post({ type: 'ended', error: error === null ? null : serializeError(error).message });
    port.close();
  };
  stage
    .start()
    .then(() => stage.done)
    .then(
      () => end(null),
      (error: unknown) => end(error),
    );
}

/** Errors lose their code on the way to another thread, and one that cannot be cloned would end this one. */
function plain(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [
      name,
      name === 'err' || value instanceof Error ? serializeError(value) : value,
    ]),
  );
}
