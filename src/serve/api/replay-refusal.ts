import { ReplayRefused, type RefusalKind } from '../../core/replay/refusal.ts';
import { ApiError, type ErrorCode } from './errors.ts';
import { toldOf } from './reading.ts';

const CODE_OF: Readonly<Record<RefusalKind, ErrorCode>> = {
  bad_field: 'bad_request',
  unknown_symbols: 'not_found',
  unknown_dataset: 'not_found',
  unknown_run: 'not_found',
  unknown_schedule: 'not_found',
  wrong_state: 'conflict',
  name_taken: 'conflict',
  too_many: 'conflict',
};

/** What was asked of replays, with a refusal, or a database that does not answer, as the API tells it. */
export async function orRefusal<T>(asked: Promise<T>): Promise<T> {
  try {
    return await asked;
  } catch (error) {
    if (!(error instanceof ReplayRefused)) throw toldOf(error);
    const { refusal, message } = error;
    const details =
      refusal.kind === 'bad_field' ? [{ path: `body.${refusal.field}`, message: refusal.problem }] : [];
    throw new ApiError(CODE_OF[refusal.kind], message, { details });
  }
}
