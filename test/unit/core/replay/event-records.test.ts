import assert from 'node:assert/strict';
import fc from 'fast-check';
import { test } from 'tap';
import { encodeEvent } from '../../../../src/core/market/codec/encode.ts';
import { eventIdOf } from '../../../../src/core/market/event-id.ts';
import { EVENT_TIME_END_US, EVENT_TIME_FIRST_US } from '../../../../src/core/market/event-time.ts';
import type { MarketEvent } from '../../../../src/core/market/event.ts';
import { EventRecords } from '../../../../src/core/replay/event-records.ts';
import { formatMicros } from '../../../../src/core/time.ts';
import { barRows, tickRows, type TickRow } from '../../../support/replay/rows.ts';

const SERIES = [
  { provider: 'ibkr', symbol: 'SPY' },
  { provider: 'we"ird\\', symbol: '币安 "Ä' },
];
const number = fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0);
const orNull = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | null> => fc.option(value, { nil: null });
const row: fc.Arbitrary<TickRow> = fc.record({
  ts: fc.bigInt({ min: EVENT_TIME_FIRST_US, max: EVENT_TIME_END_US - 1n }),
  series: fc.constantFrom(0, 1),
  seq: fc.oneof(fc.bigInt({ min: 0n, max: 300n }), fc.bigInt({ min: 0n, max: 2n ** 63n - 1n })),
  price: number,
  size: orNull(number.map(Math.abs)),
  bid: orNull(number),
  ask: orNull(number),
  side: fc.constantFrom(1 as const, -1 as const, null),
});
const runId = fc.bigInt({ min: 1n, max: 2n ** 50n });

void test('a row is the event that it was, byte for byte, in both encodings', (t) => {
  fc.assert(
    fc.property(
      fc.array(row, { minLength: 1, maxLength: 20 }),
      runId,
      fc.constantFrom('json' as const, 'msgpack' as const),
      (rows, runId, encoding) => {
        const page = tickRows(rows);
        const records = new EventRecords(SERIES, { runId, encoding, interval: null });
        for (const [at, { ts, series, seq, ...values }] of rows.entries()) {
          const { provider, symbol } = SERIES[series];
          const eventId = eventIdOf(provider, symbol, formatMicros(ts), seq, null);
          const event: MarketEvent = {
            kind: 'tick',
            provider,
            symbol,
            srcTs: ts,
            ingestTs: null,
            seq,
            origin: 'replay',
            replayRunId: runId,
            eventId,
            ...values,
          };
          const made = records.of(page, at);
          assert.deepEqual(
            { ...made, data: Buffer.from(made.data).toString('hex') },
            {
              provider,
              key: symbol,
              eventId,
              encoding,
              data: Buffer.from(encodeEvent(event, encoding)).toString('hex'),
            },
          );
        }
      },
    ),
  );
  t.end();
});

void test('a bar is a bar event, with its interval in the id', (t) => {
  const records = new EventRecords(SERIES, { runId: 7n, encoding: 'json', interval: '1m' });
  const page = barRows([{ ts: 1_762_178_400_000_000n, series: 0, prices: [1, 4, 0.5, 2, 33] }]);
  const { eventId, data } = records.of(page, 0);
  t.equal(eventId, 'ibkr|SPY|2025-11-03T14:00:00.000000Z|0|1m');
  t.match(JSON.parse(Buffer.from(data).toString()), {
    kind: 'bar',
    interval: '1m',
    o: 1,
    h: 4,
    l: 0.5,
    c: 2,
    v: 33,
    origin: 'replay',
    replay_run_id: 7,
  });
  t.end();
});
