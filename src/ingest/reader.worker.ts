import { parentPort, workerData } from 'node:worker_threads';
import { systemClock } from '../core/time.ts';
import { runReader, type ReaderSetup } from './reader-thread.ts';

if (parentPort === null) throw new Error('reader.worker is started as a worker thread');
runReader(workerData as ReaderSetup, parentPort, {
  nowMs: () => systemClock.monotonicMs(),
  wallMs: () => Number(systemClock.nowMicros()) / 1000,
  random: Math.random,
});
