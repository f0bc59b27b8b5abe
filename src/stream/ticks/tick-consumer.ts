import {
  providersOf,
  type ProviderDeclarations,
  type Providers,
} from '../../core/market/identity/providers.ts';
import type { TickEvent } from '../../core/market/event.ts';
import type { StoreClient } from '../../store/store-client.ts';
import { InboxMover } from '../inbox.ts';
import type { ServerCalls } from '../server-calls.ts';
import { SharedConsumer } from '../shared/consumer.ts';
import type { Beside, ConsumerRole, ConsumerWork, SharedConsumerOptions } from '../shared/role.ts';
import type { TickStore } from '../shared/sink.ts';
import type { Stage } from '../stage.ts';
import { sortDeliveries, type TickBatch } from './batch.ts';
import { COMPONENT, TickReport } from './report.ts';

/** Defaults: 100 ticks of one transaction, up to 5000 when behind; group tick-consumer of mdp.events, member tick-1. */
export interface TickConsumerOptions extends SharedConsumerOptions {
  /** what is declared of providers; the micro-batcher needs the same. Default: nothing */
  providers?: ProviderDeclarations;
}

const ROLE: ConsumerRole = {
  name: 'TickConsumer',
  role: COMPONENT,
  stage: 'ticks',
  jobName: 'tick_consumer',
  batchSize: 100,
  batchMax: 5_000,
  consumerGroup: 'tick-consumer',
  consumerName: 'tick-1',
  topic: 'mdp.events',
  gatherMs: 0,
};

/**
 * The tick consumer: writes market ticks from the bus to tick_data, each once. Bars and replayed ticks are acknowledged
 * and left to other consumers; malformed, refused and conflicting events go to mdp.events.dlq.
 */
export class TickConsumer implements Stage {
  readonly #consumer: SharedConsumer<TickEvent, TickBatch>;

  /** @throws RangeError when a provider's map of symbols cannot be used */
  constructor(options: TickConsumerOptions) {
    const providers = providersOf(options.providers);
    this.#consumer = new SharedConsumer(
      options,
      ROLE,
      ({ env, meter, run }): ConsumerWork<TickEvent, TickBatch> => {
        const report = new TickReport(env, meter, run);
        return {
          store: tickStore(options.storeClient),
          sort: (deliveries, context) => sortDeliveries(deliveries, context, providers),
          batchOf: (refused) => ({ ticks: [], refused, skipped: { bars: 0, replayed: 0, lost: 0 } }),
          wrote: (result) => report.wrote(result),
          beat: () => report.beat(),
        };
      },
      new Inbox(options, providers),
    );
  }

  get done(): Promise<void> {
    return this.#consumer.done;
  }

  start(): Promise<void> {
    return this.#consumer.start();
  }

  stop(): Promise<void> {
    return this.#consumer.stop();
  }
}

function tickStore(store: StoreClient): TickStore<TickEvent> {
  return {
    write: (ticks) => store.writeTicks(ticks),
    witness: () => store.tickWitness(),
    conflictDetail({ provider, notes }) {
      const detail =
        'a tick of this provider, symbol, time and seq is stored with another content, which stays';
      return notes !== undefined && notes.includes('unnumbered')
        ? `${detail}; it says neither seq nor trade_id: declare providers: { ${provider}: { identity: content } }`
        : detail;
    },
  };
}

/** The inbox of the topic, which any member of any role moves. */
class Inbox implements Beside {
  readonly #options: TickConsumerOptions;
  readonly #providers: Providers;
  #mover: InboxMover | null = null;
  failure: Error | null = null;

  constructor(options: TickConsumerOptions, providers: Providers) {
    this.#options = options;
    this.#providers = providers;
  }

  async start(calls: ServerCalls, stopping: AbortSignal): Promise<void> {
    const { bus, storeClient: store, topic, consumerGroup, consumerName } = this.#options;
    const options = {
      bus,
      store,
      topic: topic ?? ROLE.topic,
      member: `${consumerGroup ?? ROLE.consumerGroup} ${consumerName ?? ROLE.consumerName}`,
      providers: this.#providers,
      onBroken: (error: Error) => (this.failure = error),
      calls,
    };
    this.#mover = await InboxMover.start(options, stopping);
  }

  async close(): Promise<void> {
    await this.#mover?.close();
  }
}
