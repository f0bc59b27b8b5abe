import type { Test } from 'tap';
import { PUBLISHER_LIMITS } from '../../../src/bus/publisher.ts';
import { decodeEvent } from '../../../src/core/market/codec/decode.ts';
import type { TickEvent } from '../../../src/core/market/event.ts';
import { IbkrProducer, type IbkrProducerOptions } from '../../../src/stream/producers/ibkr/producer.ts';
import { FakeTws, type FakeTwsOptions } from '../servers/fake-tws.ts';
import { until } from '../until.ts';
import { TestMeter } from './meter.ts';
import { PublishBus } from './publish-bus.ts';

export const SECONDS = 1_762_180_200;
/** limits of a connection, short enough for a test */
export const TWS = {
  connectMs: 2_000,
  silentMs: 60_000,
  sameInstrumentMs: 0,
  deniedMs: 20,
  deniedMaxMs: 200,
  answerMs: 60_000,
  staleMs: 60_000,
  settleMs: 1,
  holdMs: 20,
  spacingMs: 1,
};

export interface Harness {
  tws: FakeTws;
  bus: PublishBus;
  meter: TestMeter;
  logs: { message: string; fields: Record<string, unknown> }[];
  producer: IbkrProducer;
}

/** A producer that is connected to a TWS which does what the test says. */
export async function harness(
  t: Test,
  twsOptions: FakeTwsOptions = {},
  options: Partial<IbkrProducerOptions> = {},
): Promise<Harness> {
  const tws = await FakeTws.start(twsOptions);
  const bus = new PublishBus();
  const meter = new TestMeter();
  const logs: Harness['logs'] = [];
  const producer = new IbkrProducer({
    bus,
    meter,
    env: { log: (_, message, fields) => logs.push({ message, fields }), random: () => 1 },
    host: '127.0.0.1',
    port: tws.port,
    clientId: 7,
    providerId: 'ibkr_primary',
    symbols: ['SPY', 'aapl'],
    reconnect: { firstMs: 1, maxMs: 20 },
    limits: { ...PUBLISHER_LIMITS, backoff: { firstMs: 1, maxMs: 2 }, drainMs: 500 },
    ...options,
    tws: { ...TWS, ...options.tws },
  });
  t.teardown(async () => {
    await producer.stop();
    await tws.stop();
  });
  await producer.start();
  return { tws, bus, meter, logs, producer };
}

export const events = (bus: PublishBus): TickEvent[] =>
  bus.taken.flatMap(({ records }) =>
    records.map(({ data, encoding }) => decodeEvent(data, encoding) as TickEvent),
  );
export const published = (bus: PublishBus, count: number): Promise<unknown> =>
  until(`${count} events`, () => events(bus).length >= count);
