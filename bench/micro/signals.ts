/** What a signal costs before it is with database and bus: features, looks, signals, COPY bytes, records. CPU time. */
import { encodeSignals } from '../../src/core/copy/signals.ts';
import { DEFAULT_FEATURES } from '../../src/core/feature/catalogue.ts';
import type { TickEvent } from '../../src/core/market/event.ts';
import { PartitionRows } from '../../src/core/signal/partition-rows.ts';
import { signalId, signalJson } from '../../src/core/signal/signal.ts';
import { tickSignals, tickSignalSet, tickSignalWindows } from '../../src/core/signal/tick-signals.ts';

const TICKS = 200_000;
const SYMBOLS = 20;
const STEP = 1_000;
const START_US = 1_760_000_000_000_000;
/** between two ticks, µs */
const APART_US = 1_000;

const events: TickEvent[] = [];
for (let at = 0, price = 100; at < TICKS; at += 1) {
  price *= 1 + (((at * 7919) % 1000) - 499.5) * 1e-7;
  events.push({
    kind: 'tick',
    provider: 'bench',
    symbol: `S${at % SYMBOLS}`,
    srcTs: BigInt(START_US + at * APART_US),
    ingestTs: null,
    seq: BigInt(at),
    origin: 'live',
    replayRunId: null,
    eventId: '',
    price: Math.round(price * 1e4) / 1e4,
    size: (at % 50) + 1,
    bid: price - 0.01,
    ask: price + 0.01,
    side: at % 2 === 0 ? 1 : -1,
  });
}

const set = tickSignalSet(DEFAULT_FEATURES);
const windows = tickSignalWindows(set);
const spent: Record<string, number> = { 'features and looks': 0, signals: 0, 'COPY bytes': 0, records: 0 };
const rows = new PartitionRows({ set, times: 'ticks', allowLateMs: 500, idleTimeoutMs: 5_000 }, []);
let signals = 0;
let bytes = 0;

function measured<T>(part: string, work: () => T): T {
  const before = process.cpuUsage();
  const result = work();
  const { user, system } = process.cpuUsage(before);
  spent[part] += user + system;
  return result;
}

for (let from = 0; from < TICKS; from += STEP) {
  const looks = measured('features and looks', () => {
    for (const event of events.slice(from, from + STEP)) rows.take(event, START_US / 1000);
    return rows.takeRows();
  });
  const made = measured('signals', () => tickSignals(looks, windows));
  signals += made.length;
  bytes += measured('COPY bytes', () => encodeSignals(made)).length;
  bytes += measured('records', () =>
    made.reduce((sum, signal) => sum + Buffer.from(signalJson(signal, signalId(signal))).length, 0),
  );
}

for (const [part, us] of Object.entries(spent))
  console.log(
    `${part.padEnd(20)} ${(us / TICKS).toFixed(2)} µs a tick, ${(us / signals).toFixed(2)} µs a signal`,
  );
console.log(`${signals} signals of ${TICKS} ticks, ${Math.round(bytes / signals)} bytes each`);
