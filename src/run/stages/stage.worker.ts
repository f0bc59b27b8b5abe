import { parentPort, workerData } from 'node:worker_threads';
import type { StageSetup } from './stage-setup.ts';
import { runStageThread } from './stage-thread.ts';

if (parentPort === null) throw new Error('a worker thread');
runStageThread(workerData as StageSetup, parentPort);
