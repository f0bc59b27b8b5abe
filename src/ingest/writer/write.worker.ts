import { parentPort, workerData } from 'node:worker_threads';
import { systemClock } from '../../core/time.ts';
import { runWriter, type WriterSetup } from './writer-thread.ts';

if (parentPort === null) throw new Error('write.worker is started as a worker thread');
runWriter(workerData as WriterSetup, parentPort, systemClock, Math.random);
