// Market ticks straight into tick_data. Running it again changes nothing: what is there stays.
//   DATABASE_URL=postgres://… node examples/upsert-ticks.ts
import { StoreClient } from 'tick-ingester';

const databaseUrl = process.env['DATABASE_URL'];
if (databaseUrl === undefined) throw new Error('set DATABASE_URL');

const store = new StoreClient({ dbUri: databaseUrl });
await store.aopen();
const result = await store.upsertTicks([
  {
    provider: 'ibkr',
    symbol: 'NVDA',
    price: 123.45,
    ts: '2025-11-03T14:30:00Z',
    size: 100,
    bid: 123.4,
    ask: 123.5,
  },
]);
console.log(`${result.stored} stored, ${result.known} known, ${result.conflicts.length} in conflict`);
await store.aclose();
