/** A process that runs one model: killed by its parent when a call takes too long (docs/decisions/013), ended with it. */
import type { ModelDescription } from './description.ts';
import { PredictionError, type FailureKind, type Outputs } from './prediction.ts';
import { ModelSession } from './session.ts';

export type ToModel =
  | { kind: 'load'; bytes: Uint8Array; description: ModelDescription }
  | { kind: 'predict'; rows: Float64Array };

export type FromModel =
  | { kind: 'loaded' }
  | { kind: 'refused'; problem: string }
  | { kind: 'predicted'; outputs: Outputs }
  | { kind: 'failed'; failure: FailureKind; message: string };

let session: ModelSession | null = null;

async function answer(message: ToModel): Promise<FromModel> {
  try {
    if (message.kind === 'load') {
      session = await ModelSession.load(message.bytes, message.description);
      return { kind: 'loaded' };
    }
    if (session === null) throw new PredictionError('threw', 'no model is loaded');
    return { kind: 'predicted', outputs: await session.predict(message.rows) };
  } catch (error) {
    const said = (error as Error).message;
    if (message.kind === 'load') return { kind: 'refused', problem: said.split('\n')[0] };
    return {
      kind: 'failed',
      failure: error instanceof PredictionError ? error.kind : 'threw',
      message: said,
    };
  }
}

process.on('message', (message: ToModel) => {
  void answer(message).then((said) => process.send?.(said));
});
// without the library's own end, which may abort
process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'));
// a terminal sends these to every process of its group; the parent decides
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});
