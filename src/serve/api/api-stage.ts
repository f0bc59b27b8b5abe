import type { Env } from '../../core/env.ts';
import { StageLifecycle, type Stage } from '../../stream/stage.ts';
import { buildApi, type ApiServerOptions } from './server.ts';

/** Requests in hand have so long at the end, ms. */
const DRAIN_MS = 5_000;

export interface ApiStageOptions extends ApiServerOptions {
  host: string;
  /** 0: any free one */
  port: number;
  env: Env;
  /** what the routes hold: closed after the last request */
  close(): Promise<void>;
}

/** An address that cannot be listened on. */
export class ApiPortError extends Error {
  override readonly name = 'ApiPortError';
}

/** The API as a stage: listens while it runs. */
export class ApiStage implements Stage {
  readonly #options: ApiStageOptions;
  readonly #lifecycle: StageLifecycle;

  constructor(options: ApiStageOptions) {
    this.#options = options;
    this.#lifecycle = new StageLifecycle(
      () => this.#run(),
      () => options.close(),
    );
  }

  get done(): Promise<void> {
    return this.#lifecycle.done;
  }

  start(): Promise<void> {
    return this.#lifecycle.start();
  }

  stop(): Promise<void> {
    return this.#lifecycle.stop();
  }

  async #run(): Promise<void> {
    const { stopping } = this.#lifecycle;
    const { host, port, env } = this.#options;
    const app = await buildApi(this.#options);
    try {
      if (stopping.aborted) return;
      const address = await app.listen({ host, port }).catch((error: NodeJS.ErrnoException) => {
        throw portError(error, host, port);
      });
      env.log('info', 'The API is served', { address });
      await new Promise<void>((resolve) =>
        stopping.addEventListener('abort', () => resolve(), { once: true }),
      );
    } finally {
      const tooLong = setTimeout(() => app.server.closeAllConnections(), DRAIN_MS);
      await app.close();
      clearTimeout(tooLong);
    }
  }
}

function portError(error: NodeJS.ErrnoException, host: string, port: number): Error {
  if (error.code === 'EADDRINUSE')
    return new ApiPortError(
      `API_PORT ${port} of ${host} is taken by another program: end it or set another port`,
    );
  if (error.code === 'EACCES')
    return new ApiPortError(`API_PORT ${port} is not allowed for this user: set a port above 1023`);
  if (error.code === 'EADDRNOTAVAIL')
    return new ApiPortError(`API_HOST ${host} is no address of this machine`);
  return error;
}
