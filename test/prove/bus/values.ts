import assert from 'node:assert/strict';
import { encode } from '@msgpack/msgpack';
import type { OutgoingRecord } from '../../../src/bus/bus.ts';
import { barsEqualTickData } from './bars.ts';
import { BusHarness, type BusName } from './harness.ts';
import type { Figures, ScenarioContext } from '../harness.ts';

const AT = '2025-10-24T14:02:01.234567Z';
const GOOD = { provider: 'p', symbol: 'GOOD', kind: 'tick', price: 1 };

interface Malformed {
  data: Uint8Array;
  encoding: 'json' | 'msgpack';
  reason: string;
}

function text(raw: string | Uint8Array, reason: string): Malformed {
  return { data: typeof raw === 'string' ? Buffer.from(raw) : raw, encoding: 'json', reason };
}

/** Kinds of events that are none, each with the reason that it must be kept under. */
function malformed(): Malformed[] {
  const event = (fields: Record<string, unknown>, reason: string) =>
    text(JSON.stringify({ ...GOOD, symbol: 'BAD', src_ts: AT, ...fields }), reason);
  const packed = (fields: Record<string, unknown>, reason: string) => ({
    data: encode({ ...GOOD, symbol: 'BAD', src_ts: AT, ...fields }),
    encoding: 'msgpack' as const,
    reason,
  });
  return [
    text('{"price": NaN}', 'bad_json'),
    text('{', 'bad_json'),
    text('', 'bad_json'),
    text('nonsense', 'bad_json'),
    text("{'single': 1}", 'bad_json'),
    text('{"a":1}{"b":2}', 'bad_json'),
    text('[1,2]', 'not_an_object'),
    text('null', 'not_an_object'),
    text('"text"', 'not_an_object'),
    text('42', 'not_an_object'),
    text(Uint8Array.of(0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d), 'bad_utf8'),
    event({ price: '1,5' }, 'bad_price'),
    event({ price: '0x10' }, 'bad_price'),
    event({ price: '' }, 'bad_price'),
    event({ price: ' 1' }, 'bad_price'),
    event({ price: true }, 'bad_price'),
    event({ price: null }, 'missing_price'),
    event({ price: [1] }, 'bad_price'),
    event({ price: {} }, 'bad_price'),
    event({ price: 'NaN' }, 'not_finite'),
    event({ price: 'Infinity' }, 'not_finite'),
    text(`{"provider":"p","symbol":"BAD","kind":"tick","src_ts":"${AT}","price":1e999}`, 'not_finite'),
    packed({ price: Number.NaN }, 'not_finite'),
    packed({ price: -Infinity }, 'not_finite'),
    event({ size: -1 }, 'bad_size'),
    event({ size: 'many' }, 'bad_size'),
    event({ bid: 'x' }, 'bad_number'),
    event({ ask: [] }, 'bad_number'),
    event({ trade_id: 'x'.repeat(129) }, 'bad_trade_id'),
    event({ trade_id: [1] }, 'bad_trade_id'),
    event({ seq: -1 }, 'bad_seq'),
    event({ seq: 1.5 }, 'bad_seq'),
    text(JSON.stringify({ ...GOOD, src_ts: AT }).replace('}', ',"seq":9007199254740993e0}'), 'bad_seq'),
    event({ seq: '9223372036854775808' }, 'bad_seq'),
    event({ symbol: undefined }, 'missing_symbol'),
    event({ symbol: 'x'.repeat(1024 * 512) }, 'bad_symbol'),
    event({ symbol: 'A\u0000B' }, 'bad_symbol'),
    event({ symbol: 'A|B' }, 'bad_symbol'),
    event({ symbol: '' }, 'bad_symbol'),
    event({ symbol: 'Ä'.repeat(65) }, 'bad_symbol'),
    event({ symbol: ' BAD' }, 'bad_symbol'),
    event({ symbol: 7 }, 'bad_symbol'),
    event({ provider: 'a b' }, 'bad_provider'),
    event({ provider: undefined }, 'missing_provider'),
    event({ src_ts: undefined }, 'missing_time'),
    event({ src_ts: 'yesterday' }, 'bad_time'),
    event({ src_ts: '2025-02-30T00:00:00Z' }, 'bad_time'),
    event({ src_ts: '9999-12-31T23:59:59Z' }, 'time_out_of_range'),
    event({ kind: 'trade' }, 'unknown_kind'),
    text(
      `{"__proto__":{"symbol":"BAD","price":1},"provider":"p","kind":"tick","src_ts":"${AT}"}`,
      'missing_symbol',
    ),
    event({ ver: 2 }, 'unknown_version'),
  ];
}

/**
 * Must show 4: 1,000 trades of one symbol in one µs are 1,000 rows, sent again they are still 1,000; malformed events of
 * 50 kinds are 50 dead letters with their reasons, and the good ones between them are stored.
 */
export function keepsValuesApart(context: ScenarioContext, name: BusName): Promise<Figures> {
  return BusHarness.with(name, context, async (harness) => {
    const consumer = harness.consumer('tick-1');
    const trades = Array.from({ length: 1000 }, (_, seq) =>
      record({ ...GOOD, symbol: 'ONE', src_ts: AT, seq, price: 100 + seq / 100 }),
    );
    await harness.bus.publish('mdp.events', trades);
    await harness.untilStored(1000, consumer);
    await harness.bus.publish('mdp.events', trades);
    await harness.untilSettled();
    assert.equal(await harness.stored(), 1000);

    const bad = malformed();
    const mixed = bad.flatMap(({ data, encoding }, seq) => [
      record({ ...GOOD, src_ts: AT, seq: 2 * seq }),
      { key: 'BAD', eventId: null, data, encoding },
      record({ ...GOOD, src_ts: AT, seq: 2 * seq + 1 }),
    ]);
    const positions = await harness.bus.publish('mdp.events', mixed);
    await harness.untilStored(1000 + 2 * bad.length, consumer);
    await harness.untilSettled();
    assert.equal(await consumer.stop(), 0, consumer.tail);
    const { rows } = await harness.client.query<{ symbol: string; n: string }>(
      'SELECT symbol, count(*) AS n FROM tick_data GROUP BY symbol ORDER BY symbol',
    );
    assert.deepEqual(rows, [
      { symbol: 'GOOD', n: `${2 * bad.length}` },
      { symbol: 'ONE', n: '1000' },
    ]);
    const letters = await harness.deadLetters();
    assert.equal(letters.size, bad.length);
    bad.forEach(({ data, reason }, index) => {
      const letter = letters.get(`mdp.events|${positions[3 * index + 1]}`);
      assert.equal(letter?.['reason'], reason, Buffer.from(data).toString().slice(0, 200));
      assert.equal(letter?.['raw'], Buffer.from(data).toString('base64'));
    });
    return {
      'trades in one µs': 1000,
      'kinds of malformed events': bad.length,
      'good ones between them': 2 * bad.length,
      'final bars equal to tick_data': await barsEqualTickData(harness),
    };
  });
}

function record(event: Record<string, unknown> & { symbol: string }): OutgoingRecord {
  return { key: event.symbol, eventId: null, data: Buffer.from(JSON.stringify(event)), encoding: 'json' };
}
