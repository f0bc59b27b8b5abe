import { test } from 'tap';
import { acceptEvent } from '../../../../src/core/market/accept.ts';
import { NO_PROVIDERS } from '../../../../src/core/market/identity/providers.ts';
import { formatMicros } from '../../../../src/core/time.ts';

const TAKEN_MS = 1_755_945_303_178;
const TAKEN_US = BigInt(TAKEN_MS) * 1000n;
const DAY_US = 86_400_000_000n;

/** The reason, or the ingest time that the event has in the end, relative to when it was taken, µs. */
function accepted(srcUs: bigint, ingestUs: bigint | null): unknown {
  const time = (us: bigint): string => formatMicros(TAKEN_US + us);
  const ingest = ingestUs === null ? {} : { ingest_ts: time(ingestUs) };
  const event = { provider: 'p', symbol: 'SPY', price: 1, src_ts: time(srcUs), ...ingest };
  const result = acceptEvent(Buffer.from(JSON.stringify(event)), 'json', TAKEN_MS, NO_PROVIDERS);
  if (result.kind === 'refused') return result.reason;
  return result.ingestTs === null ? null : result.ingestTs - TAKEN_US;
}

void test('a minute ahead of the time it was taken is accepted, more is not', (t) => {
  t.equal(accepted(60_000_000n, null), null);
  t.equal(accepted(60_000_001n, null), 'future');
  t.equal(accepted(-1_000n * DAY_US, null), null, 'history');
  t.end();
});

void test('its own ingest time decides, unless that is more than a day ahead', (t) => {
  t.equal(accepted(DAY_US + 60_000_000n, DAY_US), DAY_US);
  t.equal(accepted(1n, -61_000_000n), 'future');
  t.equal(accepted(-400n * DAY_US, -400n * DAY_US), -400n * DAY_US, 'history that says when it was received');
  t.equal(accepted(20_000n * DAY_US, 20_000n * DAY_US), 'future', 'a clock in another century');
  t.equal(accepted(0n, 20_000n * DAY_US), null, 'the event is good, its ingest time is not');
  t.end();
});
