import type { Env } from '../../core/env.ts';
import { startMetricsServer, type HealthServer } from '../telemetry/http.ts';
import type { ApiSettings } from '../api/settings.ts';
import type { StageSetup } from './stage-setup.ts';
import { StageMetrics } from '../telemetry/stage-metrics.ts';
import { StageThread } from './stage-handle.ts';
import type { BusStage } from '../config/stages.ts';
import { knownProviders, type StreamingConfig } from '../config/streaming/load.ts';

export interface BusStagesOptions {
  stages: readonly BusStage[];
  streaming: StreamingConfig;
  databaseUrl: string;
  serviceName: string;
  /** name of the members that the stages are, each in its own group */
  consumer: string;
  metricsPort: number;
  /** DB_MIGRATE=auto */
  appliesSchema: boolean;
  /** null: the stage api is off */
  api: ApiSettings | null;
  env: Env;
}

/** A stage that was silent for this long is hung. */
const SILENCE_MS = 15_000;

/** The stages on the bus, a thread each, and the port that serves what they measure. */
export class BusStages {
  readonly #options: BusStagesOptions;
  readonly #metrics: StageMetrics;
  readonly #threads: StageThread[];
  readonly #heardMs = new Map<string, number>();
  #server: HealthServer | null = null;

  constructor(options: BusStagesOptions) {
    this.#options = options;
    this.#metrics = new StageMetrics(knownProviders(options.streaming));
    const [keeper] = options.stages;
    this.#threads = options.stages.map(
      (stage) =>
        new StageThread(stageSetup(options, stage, stage === keeper), {
          env: options.env,
          metrics: (name, entries) => {
            this.#heardMs.set(name, options.env.clock.monotonicMs());
            this.#metrics.add(entries, name);
          },
          died: (name) => {
            // it waits for its restart, which is a known reason
            this.#heardMs.delete(name);
            this.#metrics.count('errors_total', { component: name, reason: 'stage_ended' });
          },
        }),
    );
  }

  /** Stages that are silent although they run. */
  readonly failing = (): string[] => {
    const nowMs = this.#options.env.clock.monotonicMs();
    return [...this.#heardMs].filter(([, heardMs]) => nowMs - heardMs > SILENCE_MS).map(([name]) => name);
  };

  async start(): Promise<void> {
    const { env, metricsPort } = this.#options;
    try {
      this.#server = await startMetricsServer({
        port: metricsPort,
        metrics: () => this.#metrics.render(),
        onError: (err) => env.log('error', 'The metrics of the stages failed', { err }),
      });
      env.log('info', 'Metrics of the stages are served', { port: this.#server.port });
    } catch (error) {
      // failing telemetry must not stop data
      env.log('warn', 'The metrics of the stages are not served', { err: error });
    }
    for (const thread of this.#threads) thread.start();
  }

  async stop(): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.stop()));
    this.#heardMs.clear();
    await this.#server?.close();
  }
}

function stageSetup(options: BusStagesOptions, stage: BusStage, maintainsBus: boolean): StageSetup {
  const { streaming, databaseUrl, serviceName, consumer } = options;
  return {
    stage,
    streaming,
    databaseUrl,
    serviceName,
    consumer,
    schema: options.appliesSchema ? 'soon' : 'wait',
    maintainsBus,
    ...(options.api === null ? {} : { api: options.api, readDatabaseUrl: options.api.readDatabaseUrl }),
  };
}
