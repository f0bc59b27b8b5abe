import { parentPort, workerData } from 'node:worker_threads';
import { systemClock } from '../../core/time.ts';
import { ReaderLoop, type ReaderSetup } from './reader-thread.ts';

if (parentPort === null) throw new Error('reader.worker is started as a worker thread');
new ReaderLoop(workerData as ReaderSetup, parentPort, systemClock, Math.random).start();
