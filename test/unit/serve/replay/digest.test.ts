import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { test } from 'tap';
import { RowBytes } from '../../../../src/core/replay/row-bytes.ts';
import { RunDigest } from '../../../../src/serve/replay/digest.ts';
import { tickRows, type TickRow } from '../../../support/replay/rows.ts';

const SERIES = [
  { provider: 'ibkr', symbol: 'SPY' },
  { provider: 'other', symbol: 'Ä币' },
];
const START = 1_762_178_400_000_000n;

function rowOf(at: number): TickRow {
  const price = 100 + (at % 97) / 8;
  return {
    ts: START + BigInt(at) * 1_001n,
    series: at % 2,
    seq: BigInt(at) * 9_007_199_254_740n,
    price,
    size: at % 3 === 0 ? null : at,
    bid: price - 0.5,
    ask: at % 5 === 0 ? null : price + 0.5,
    side: at % 7 === 0 ? null : at % 2 === 0 ? 1 : -1,
  };
}

void test('the bytes are those of the description', (t) => {
  const rows = [rowOf(0), rowOf(1)];
  const expected = Buffer.concat(
    rows.map(({ ts, series, seq, price, size, bid, ask, side }) => {
      const { provider, symbol } = SERIES[series];
      const fixed = Buffer.alloc(49);
      fixed.writeBigInt64BE(ts, 0);
      fixed.writeBigInt64BE(seq, 8);
      for (const [at, value] of [price, size, bid, ask].entries()) {
        if (value === null) fixed.writeBigUInt64BE(0x7ff8000000000000n, 16 + 8 * at);
        else fixed.writeDoubleBE(value, 16 + 8 * at);
      }
      fixed.writeInt8(side ?? 0, 48);
      return Buffer.concat([Buffer.from(`${provider}\0${symbol}\0`), fixed]);
    }),
  );
  t.equal(
    Buffer.from(new RowBytes(SERIES).of(tickRows(rows), 0, 2)).toString('hex'),
    expected.toString('hex'),
  );
  t.end();
});

void test('the digest is one SHA-256, wherever it was cut, stored and taken up again', async (t) => {
  const count = 300;
  const page = tickRows(Array.from({ length: count }, (_, at) => rowOf(at)));
  const bytes = new RowBytes(SERIES);
  const whole = createHash('sha256')
    .update(bytes.of(page, 0, count))
    .digest('hex');
  const cut = fc.record({ at: fc.integer({ min: 0, max: count }), isRestart: fc.boolean() });
  await fc.assert(
    fc.asyncProperty(fc.array(cut, { maxLength: 12 }), async (cuts) => {
      let digest = await RunDigest.from(undefined);
      let from = 0;
      for (const { at, isRestart } of cuts.toSorted((a, b) => a.at - b.at)) {
        digest.update(bytes.of(page, from, at));
        from = at;
        if (isRestart) digest = await RunDigest.from(digest.state());
      }
      digest.update(bytes.of(page, from, count));
      return digest.end() === whole;
    }),
  );
  const unknown = await RunDigest.from(Buffer.from('of another version'));
  unknown.update(Buffer.from('x'));
  t.equal(unknown.state(), null);
  t.equal(unknown.end(), null, 'a state that cannot be read makes the digest unknown, not wrong');
});
