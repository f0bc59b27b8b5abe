import { test } from 'tap';
import { transcodeFrame } from '../../../../src/core/copy/frame.ts';
import { chainSpec, expectedTicks } from '../../../support/chain/content/expected.ts';
import { malformed, wireTick } from '../../../support/chain/content/wire.ts';

const LIMITS = { nowMicros: BigInt(Date.parse('2026-01-01T00:00:00Z')) * 1000n, tickMaxBytes: 1_000_000 };
const [tick] = expectedTicks(chainSpec({ first: 2n ** 40n, txs: 3 }), 1);
if (tick === undefined) throw new Error('there is one');

void test('a good frame has rows, whatever number it was expected under', async (t) => {
  const raw = wireTick(tick);
  for (const expected of [null, tick.tickNumber]) {
    t.match(transcodeFrame(raw, expected, LIMITS), {
      kind: 'rows',
      number: tick.tickNumber,
      transactions: 3,
    });
  }
  t.match(transcodeFrame(raw, 7n, LIMITS), {
    kind: 'bad',
    reason: 'other_number',
    detail: `the frame says tick ${tick.tickNumber} and was kept as tick 7`,
  });
});

void test('a bad frame has its reason, also without a number to be read', async (t) => {
  const reasons = {
    truncated: 'malformed_frame',
    'wire-type': 'malformed_frame',
    'batch-hash': 'batch_hash_not_hex',
    'tx-hash': 'tx_hash_not_hex',
    number: 'number_out_of_range',
    iterations: 'iterations_out_of_range',
    sequence: 'duplicate_sequence',
    'previous-output': 'previous_output_not_hex',
  };
  for (const [form, reason] of Object.entries(reasons)) {
    t.match(transcodeFrame(malformed(tick, form), null, LIMITS), { kind: 'bad', reason }, form);
  }
  t.match(transcodeFrame(wireTick(tick), null, { ...LIMITS, tickMaxBytes: 100 }), { reason: 'too_large' });
  // the empty message is tick 0 of the year 1970
  t.match(transcodeFrame(new Uint8Array(0), null, LIMITS), { kind: 'bad', reason: 'time_out_of_range' });
});
