import { createHmac } from 'node:crypto';
import { test } from 'tap';
import type { Clock } from '../../../../../src/core/time.ts';
import { Signatures } from '../../../../../src/serve/api/guard/signature.ts';

const SECRET = 's'.repeat(32);
const NOW = 1_760_000_000;
const clock: Clock = { nowMicros: () => BigInt(NOW) * 1_000_000n, monotonicMs: () => 0 };
const signatures = new Signatures(new Map([['feeder', SECRET]]), clock);
const BODY = Buffer.from('{"symbol":"BTC"}');

function mac(time: number, body: Buffer, secret = SECRET): string {
  return createHmac('sha256', secret).update(`${time}.`).update(body).digest('hex');
}

function nameOf(header: string, body: Buffer = BODY): string | null {
  const claim = signatures.read(header);
  return claim === null ? null : (signatures.verify(claim, body)?.name ?? null);
}

void test('a signature of the bytes, in time, lets its key ingest', async (t) => {
  for (const time of [NOW, NOW - 300, NOW + 300])
    t.equal(nameOf(`t=${time},id=feeder,v1=${mac(time, BODY)}`), 'key feeder');
  t.equal(nameOf(`t=${NOW}, id=feeder, v1=${mac(NOW, BODY).toUpperCase()}`), 'key feeder');
  const claim = signatures.read(`t=${NOW},id=feeder,v1=${mac(NOW, BODY)}`);
  t.strictSame(claim === null ? null : signatures.verify(claim, BODY)?.scopes, new Set(['ingest']));
});

void test('nothing else does', async (t) => {
  const good = mac(NOW, BODY);
  for (const [header, body = BODY] of [
    [`t=${NOW},id=feeder,v1=${good}`, Buffer.from('{"symbol": "BTC"}')],
    [`t=${NOW - 1},id=feeder,v1=${good}`],
    [`t=${NOW},id=other,v1=${good}`],
    [`t=${NOW},id=feeder,v1=${mac(NOW, BODY, 'x'.repeat(32))}`],
    [`t=${NOW - 301},id=feeder,v1=${mac(NOW - 301, BODY)}`],
    [`t=${NOW + 301},id=feeder,v1=${mac(NOW + 301, BODY)}`],
    [`t=${NOW},id=feeder,v1=${good.slice(2)}`],
    [`t=${NOW},id=feeder,v1=${good}00`],
    [`t=${NOW},id=feeder,id=feeder,v1=${good}`],
    [`t=${NOW},id=feeder,v1=${good},v1=${good}`],
    [`t=${NOW},id=feeder,v2=${good}`],
    [`t=-${NOW},id=feeder,v1=${good}`],
    [`t=${NOW}.0,id=feeder,v1=${good}`],
    [`id=feeder,v1=${good}`],
    [`t=${NOW},v1=${good}`],
    ['', BODY],
    [','.repeat(100)],
    [`t=${NOW},id=${'f'.repeat(4000)},v1=${good}`],
  ] as [string, Buffer?][])
    t.equal(nameOf(header, body), null, header.slice(0, 120));
});
