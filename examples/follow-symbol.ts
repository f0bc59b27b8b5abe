// Ticks of a symbol from the API: the mean price of its last hour, then each tick as it comes, from there on without a seam.
//   API_URL=http://127.0.0.1:8083 API_TOKEN=… node examples/follow-symbol.ts SPY
import { ApiError, createClient, isoOf, microsOf } from 'tick-ingester/client';

const HOUR_MICROS = 3_600_000_000n;

const [symbol = 'SPY'] = process.argv.slice(2);
const token = process.env['API_TOKEN'];
const client = createClient({
  url: process.env['API_URL'] ?? 'http://127.0.0.1:8083',
  ...(token === undefined ? {} : { token }),
});

const latest = await client.latest(symbol, { kind: 'market' }).catch((error: unknown) => {
  if (error instanceof ApiError && error.code === 'not_found') return null;
  throw error;
});
if (latest === null) {
  console.log(`no tick of ${symbol}`);
  process.exit(1);
}
let count = 0;
let sum = 0;
const start = isoOf(microsOf(latest.ts) - HOUR_MICROS);
for await (const { price } of client.range(symbol, { kind: 'market', start, end: latest.ts })) {
  count += 1;
  sum += price;
}
console.log(`${count} ticks up to ${latest.ts}, mean ${sum / count}`);

// a cut is no end: it goes on behind the last tick that was taken
for await (const event of client.live({ topic: 'ticks', symbols: [symbol], from: latest.ts })) {
  if ('loss' in event) console.log(`missed: ${JSON.stringify(event.loss)}`);
  else console.log(`${event.item.ts} ${event.item.price}`);
}
