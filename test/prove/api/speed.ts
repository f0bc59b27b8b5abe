import assert from 'node:assert/strict';
import autocannon from 'autocannon';
import { formatMicros } from '../../../src/core/time.ts';
import { BusHarness, type BusName } from '../bus/harness.ts';
import { mebibytes, type Figures, type ScenarioContext } from '../harness.ts';
import { ServedApi, TOKEN } from './server.ts';

export interface ApiSpeedSize {
  /** market ticks that the queries find there */
  ticks: number;
  /** of each measurement */
  seconds: number;
  connections: number;
}

const SYMBOLS = ['SPY', 'AAPL', 'MSFT', 'NVDA', 'AMZN', 'GOOG', 'META', 'TSLA', 'AMD', 'INTC'];
const START_MICROS = 1_755_945_300_000_000n;
const STEP_MICROS = 10_000n;
const RANGE_TICKS = 1_000n;
/** one token asks for all of it */
const UNLIMITED = { sections: 'api:\n  rate_limit: 0\n' };

/**
 * Must show 5: requests a second and p99 of the webhook with 1 and 100 ticks a request, and of latest, recent and range. Who asks runs
 * on the same cores.
 */
export function answersFast(
  context: ScenarioContext,
  bus: BusName,
  { ticks, seconds, connections }: ApiSpeedSize,
): Promise<Figures> {
  return BusHarness.with(
    bus,
    context,
    async (harness) => {
      await fill(harness, ticks);
      const api = await ServedApi.start(harness);
      const load = { seconds, connections };
      const random = context.random.fork();
      const symbol = (): string => random.pick(SYMBOLS);
      const range = (): string => {
        const first = START_MICROS + BigInt(random.whole(0, Math.max(0, ticks - 10_000))) * STEP_MICROS;
        const last = first + RANGE_TICKS * BigInt(SYMBOLS.length) * STEP_MICROS;
        return `start=${formatMicros(first)}&end=${formatMicros(last)}&limit=${RANGE_TICKS}`;
      };
      let seq = 0;
      const body = (count: number): string =>
        JSON.stringify(
          Array.from({ length: count }, () => ({
            symbol: symbol(),
            ts: formatMicros(START_MICROS + BigInt((seq += 1))),
            price: '101.25',
            volume: '3',
            source: 'speed',
            seq,
          })),
        );
      const figures: Figures = {};
      for (const [name, request] of [
        ['webhook, 1 tick', () => posted(body(1))],
        ['webhook, 100 ticks', () => posted(body(100))],
        ['latest', () => asked(`/v1/ticks/${symbol()}/latest?kind=market`)],
        ['recent (1000)', () => asked(`/v1/ticks/${symbol()}/recent?kind=market`)],
        ['range (1000)', () => asked(`/v1/ticks/${symbol()}/range?kind=market&${range()}`)],
      ] as const) {
        const { perSecond, p99Ms } = await measure(api, request, load);
        figures[name] = `${perSecond.toFixed(0)} requests/s, p99 ${p99Ms} ms`;
        context.say(`${name}: ${figures[name]}`);
      }
      figures['memory'] = mebibytes(api.program.peakBytes());
      assert.equal(await api.program.stop(), 0, api.program.tail);
      return figures;
    },
    UNLIMITED,
  );
}

function posted(body: string): autocannon.Request {
  return { method: 'POST', path: '/ingest/tick', body, headers: { 'content-type': 'application/json' } };
}

function asked(path: string): autocannon.Request {
  return { method: 'GET', path };
}

/** Requests of its own making for each connection and turn. */
async function measure(
  api: ServedApi,
  request: () => autocannon.Request,
  { seconds, connections }: { seconds: number; connections: number },
): Promise<{ perSecond: number; p99Ms: number }> {
  const result = await autocannon({
    url: api.url,
    connections,
    duration: seconds,
    headers: { authorization: `Bearer ${TOKEN}` },
    requests: [
      {
        setupRequest: (given) => {
          const made = request();
          return { ...given, ...made, headers: { ...given.headers, ...made.headers } };
        },
      },
    ],
  });
  assert.equal(
    result.non2xx + result.errors + result.timeouts,
    0,
    `${JSON.stringify(result.statusCodeStats)} ${api.program.tail}`,
  );
  return { perSecond: result.requests.average, p99Ms: result.latency.p99 };
}

/** Ticks of ten symbols in turn, 10 ms apart, made by the server itself. */
async function fill(harness: BusHarness, ticks: number): Promise<void> {
  await harness.client.query(
    `INSERT INTO tick_data (provider, symbol, ts, seq, price, size, bid, ask, side)
     SELECT 'speed', ($1::text[])[1 + i % ${SYMBOLS.length}],
            timestamptz 'epoch' + ($2::bigint + i * $3::bigint) * interval '1 microsecond', i,
            100 + (i % 977) * 0.01, 1 + i % 500, 99.99 + (i % 977) * 0.01, 100.01 + (i % 977) * 0.01, CASE WHEN i % 2 = 0 THEN 1 ELSE -1 END
       FROM generate_series(0, $4::bigint - 1) AS i`,
    [SYMBOLS, START_MICROS.toString(), STEP_MICROS.toString(), ticks],
  );
  await harness.client.query('ANALYZE tick_data');
}
