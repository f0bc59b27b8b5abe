import { parentPort, workerData } from 'node:worker_threads';
import { systemClock } from '../../core/time.ts';
import { runVerifier, type VerifierSetup } from './verify-thread.ts';

if (parentPort === null) throw new Error('verify.worker is started as a worker thread');
runVerifier(workerData as VerifierSetup, parentPort, { ...systemClock, random: Math.random });
