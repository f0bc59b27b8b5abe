import { BroadcastChannel, threadId, workerData } from 'node:worker_threads';
import { systemClock } from '../../core/time.ts';
import type { VerifyTask } from '../../core/chain/verify/plan.ts';
import { Verifiers, type FromVerifier, type VerifierSetup } from './verify-thread.ts';

const setup = workerData as VerifierSetup;
const verifiers = new Verifiers(setup, { clock: systemClock, random: Math.random });
const stopChannel = new BroadcastChannel(setup.stopChannel);
stopChannel.addEventListener('message', (event) => {
  // the others answer on the same channel
  if ((event as MessageEvent).data !== 'stop') return;
  void verifiers.close().finally(() => stopChannel.postMessage(threadId));
});

/** The pool's task. */
export default async function verify(task: VerifyTask): Promise<FromVerifier> {
  return { outcome: await verifiers.verify(task), threadId };
}
