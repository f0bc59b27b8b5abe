import { BusError, type StreamBus } from '../../bus/bus.ts';
import { deadline } from '../../core/wait.ts';
import { ApiError } from './errors.ts';

/** Reads of the bus that wait for the one before; the next one is refused. */
const WAITING_MAX = 20;
/** How long one takes at most, its wait included, ms. */
const READ_MS_MAX = 30_000;

export type ReadBus = Pick<StreamBus, 'kind' | 'partitions' | 'groups' | 'read' | 'tail' | 'compare'>;

class TooLongError extends Error {
  override name = 'TooLongError';
}

/**
 * The bus for who reads whole topics, with failures as the API tells them. One read at a time: each keeps some 32 MiB busy,
 * and the stages that live from the bus come first.
 */
export class BusReading {
  readonly bus: ReadBus;
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  constructor(bus: ReadBus) {
    this.bus = bus;
  }

  /** Rejects with ApiError unavailable, and with whatever is a mistake of ours. The signal ends a read that nobody waits for. */
  async run<T>(read: (bus: ReadBus, signal: AbortSignal) => Promise<T>): Promise<T> {
    if (this.#waiting >= WAITING_MAX)
      throw new ApiError('unavailable', 'too many look at the bus at once', { retryAfterSeconds: 1 });
    this.#waiting += 1;
    const tooLong = new AbortController();
    const turn = this.#last.then(() => {
      tooLong.signal.throwIfAborted();
      return read(this.bus, tooLong.signal);
    });
    this.#last = turn.catch(() => {});
    try {
      return await deadline(turn, READ_MS_MAX, () => new TooLongError(`nothing within ${READ_MS_MAX} ms`));
    } catch (error) {
      throw toldOf(error);
    } finally {
      tooLong.abort();
      this.#waiting -= 1;
    }
  }
}

function toldOf(error: unknown): unknown {
  if (error instanceof TooLongError)
    return new ApiError('unavailable', 'the bus took too long', { retryAfterSeconds: 5, cause: error });
  if (error instanceof BusError)
    return new ApiError('unavailable', 'the bus does not answer', { retryAfterSeconds: 2, cause: error });
  return error;
}
