import type { Encoding, StreamBus } from '../../bus/bus.ts';
import { eventRecord } from '../../bus/publisher.ts';
import { providersOf, type ProviderDeclarations } from '../../core/market/identity/providers.ts';
import { eventOfWebhookTick, WEBHOOK_TOPIC, type WebhookTick } from '../../core/market/webhook-tick.ts';
import type { StoreClient } from '../../store/store-client.ts';
import type { Meter } from '../meter.ts';
import type { ServerCalls } from '../server-calls.ts';
import { SharedConsumer } from '../shared/consumer.ts';
import type { ConsumerRole, ConsumerWork, SharedConsumerOptions } from '../shared/role.ts';
import type { SinkResult, TickStore } from '../shared/sink.ts';
import type { Stage } from '../stage.ts';
import { sortWebhookDeliveries, type WebhookBatch } from './batch.ts';
import { COMPONENT, FlushReport } from './report.ts';

/** Defaults: 200 ticks of one transaction, up to 5000 when behind; group tick-flusher of ticks.received, member flusher-1. */
export interface TickFlusherOptions extends SharedConsumerOptions {
  /** how long a tick waits for others before it is stored, ms (default 1000) */
  flushIntervalMs?: number;
  /** where stored ticks go as events, provider = source; null (default): nowhere */
  forward?: { topic: string; encoding: Encoding } | null;
  /** what is declared of sources */
  providers?: ProviderDeclarations;
}

/** The group that stores what the webhook took. */
export const FLUSHER_GROUP = 'tick-flusher';
/** that owns the group */
export const FLUSHER_ROLE = COMPONENT;

const ROLE: ConsumerRole = {
  name: 'TickFlusher',
  role: FLUSHER_ROLE,
  stage: 'flusher',
  jobName: 'tick_flush',
  batchSize: 200,
  batchMax: 5_000,
  consumerGroup: FLUSHER_GROUP,
  consumerName: 'flusher-1',
  topic: WEBHOOK_TOPIC,
  gatherMs: 1_000,
};

/**
 * The flusher of the webhook: accepted ticks from the bus into md_ticks and md_ranges, each once, every second or 200 ticks,
 * then onto mdp.events where that is asked for. Malformed, refused and conflicting records go to mdp.events.dlq.
 *
 * A tick whose process ends between the commit and the acknowledgement is recognised when it comes again, and forwarded
 * again: consumers know it by its event_id. Forwarding does not wait for a full bus, as what it would wait for may be the
 * acknowledgement of these very records; it waits where the bus refuses.
 */
export class TickFlusher implements Stage {
  readonly #consumer: SharedConsumer<WebhookTick, WebhookBatch>;

  /** @throws RangeError when a provider's map of symbols cannot be used */
  constructor(options: TickFlusherOptions) {
    const { bus, storeClient, flushIntervalMs = ROLE.gatherMs, forward = null } = options;
    const providers = providersOf(options.providers);
    const role = { ...ROLE, gatherMs: flushIntervalMs };
    this.#consumer = new SharedConsumer(
      options,
      role,
      ({ env, meter, run, calls }): ConsumerWork<WebhookTick, WebhookBatch> => {
        const report = new FlushReport(env, meter, run);
        return {
          store: flushStore(storeClient),
          sort: (deliveries, context) => sortWebhookDeliveries(deliveries, context, providers),
          batchOf: (refused) => ({ ticks: [], refused, lost: 0 }),
          ...(forward === null ? {} : { committed: forwardTo(bus, forward, calls, meter) }),
          wrote: (result) => report.wrote(result),
          beat: () => {},
        };
      },
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

function flushStore({ mdTicks }: StoreClient): TickStore<WebhookTick> {
  return {
    write: (ticks) => mdTicks.write(ticks),
    witness: () => mdTicks.witness(),
    conflictDetail: () =>
      'a tick of this source, symbol, time and seq is stored with another price or volume, which stays; give ticks of one microsecond a seq',
  };
}

/** records of one publish */
const FORWARD_RECORDS = 1_000;

function forwardTo(
  bus: StreamBus,
  { topic, encoding }: { topic: string; encoding: Encoding },
  calls: ServerCalls,
  meter: Meter,
): NonNullable<ConsumerWork<WebhookTick, WebhookBatch>['committed']> {
  return async ({ ticks }, { refused }: SinkResult<WebhookTick>, signal) => {
    const asides = new Set(refused.map(({ delivery }) => delivery));
    const records = ticks
      .filter(({ delivery }) => !asides.has(delivery))
      .map(({ tick, delivery }) =>
        eventRecord(eventOfWebhookTick(tick, BigInt(Math.floor(delivery.takenMs)) * 1000n), encoding),
      );
    for (let at = 0; at < records.length; at += FORWARD_RECORDS) {
      const some = records.slice(at, at + FORWARD_RECORDS);
      await calls.bus(() => bus.publish(topic, some), signal);
    }
    meter.count('webhook_forwarded_total', {}, records.length);
  };
}
