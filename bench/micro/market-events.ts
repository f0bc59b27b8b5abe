/**
 * How fast one warm thread makes, writes and reads market events: `node bench/micro/market-events.ts [seconds per line]`.
 * Microseconds are of CPU time of the whole process, which other work on the machine disturbs less than the clock.
 */
import { decodeEvent } from '../../src/core/market/codec/decode.ts';
import { encodeEvent } from '../../src/core/market/codec/encode.ts';
import { normalise } from '../../src/core/market/normalise.ts';
import { SyntheticTicks } from '../../src/core/market/synthetic/synthetic.ts';
import { eventSchema } from '../../src/stream/event-schema.ts';

const EVENTS = 1000;
const secondsPerLine = Number(process.argv[2] ?? 2);

const ticks = new SyntheticTicks({
  seed: '1',
  provider: 'ibkr_primary',
  symbols: ['SPY', 'AAPL', 'MSFT'],
  tickRate: 1000,
  priceVolatility: 0.02,
  spreadBps: 2,
  priceStep: { step: 1, decimals: 2 },
  startMicros: 1_755_945_303_178_360n,
});
const events = Array.from({ length: EVENTS }, () => ticks.next());
for (const event of events) event.ingestTs = event.srcTs + 300n;
const json = events.map((event) => encodeEvent(event, 'json'));
const msgpack = events.map((event) => encodeEvent(event, 'msgpack'));
const parsed = json.map((bytes): object => JSON.parse(Buffer.from(bytes).toString()) as object);

function measure(name: string, work: (at: number) => unknown): void {
  const round = (): void => {
    for (let at = 0; at < EVENTS; at += 1) work(at);
  };
  for (let warm = 0; warm < 50; warm += 1) round();
  const began = process.cpuUsage();
  let rounds = 0;
  let seconds = 0;
  while (seconds < secondsPerLine) {
    round();
    rounds += 1;
    const { user, system } = process.cpuUsage(began);
    seconds = (user + system) / 1e6;
  }
  const micros = (seconds * 1e6) / (rounds * EVENTS);
  const perSecond = Math.round(1e6 / micros / 1000);
  console.log(
    `${name.padEnd(24)}${micros.toFixed(2).padStart(8)} us${String(perSecond).padStart(8)}k a second`,
  );
}

console.log(`${json[0].length} bytes of JSON, ${msgpack[0].length} of msgpack`);
measure('synthetic', () => ticks.next());
measure('encode JSON', (at) => encodeEvent(events[at], 'json'));
measure('encode msgpack', (at) => encodeEvent(events[at], 'msgpack'));
measure('decode JSON', (at) => decodeEvent(json[at], 'json'));
measure('decode msgpack', (at) => decodeEvent(msgpack[at], 'msgpack'));
measure('normalise alone', (at) => normalise(parsed[at]));
measure('the zod schema instead', (at) => eventSchema.safeParse(parsed[at]));
