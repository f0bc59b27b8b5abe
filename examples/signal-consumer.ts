// The signal consumer as a program of one's own: signals of every market tick into the table signals, until Ctrl-C. Beside it a
// signal of this program's own.
//   DATABASE_URL=postgres://… REDIS_URI=redis://localhost:6379/0 node examples/signal-consumer.ts
import { createStreamBus, SignalConsumer, SignalsStoreClient, StoreClient } from 'tick-ingester';

const databaseUrl = process.env['DATABASE_URL'];
if (databaseUrl === undefined) throw new Error('set DATABASE_URL');

const store = new StoreClient({ dbUri: databaseUrl });
await store.aopen();
const bus = await createStreamBus({ databaseUrl });

const signalConsumer = new SignalConsumer({
  bus,
  storeClient: store,
  batchSize: 200,
  flushIntervalSeconds: 5,
});
await signalConsumer.start();
console.log('making signals; Ctrl-C ends it');

const signals = new SignalsStoreClient({ dbUri: databaseUrl });
await signals.upsertSignals([
  {
    provider: 'mine',
    symbol: 'SPY',
    ts: '2025-11-03T14:30:02Z',
    name: 'opened',
    value: 1,
    metadata: { window: '2s' },
  },
]);

process.once('SIGINT', () => void signalConsumer.stop());
process.once('SIGTERM', () => void signalConsumer.stop());
await signalConsumer.done;
const newest = await signals.querySignals({ name: 'vwap_deviation_bps', limit: 5 });
console.log(
  `the newest of ${newest.length} signals vwap_deviation_bps: ${JSON.stringify(newest[0] ?? null)}`,
);
await signals.aclose();
await bus.close();
await store.aclose();
