import { test } from 'tap';
import { partitionOf } from '../../../src/core/bus/partitions.ts';
import { decodeEvent } from '../../../src/core/market/codec/decode.ts';
import { providersOf, type ProviderDeclarations } from '../../../src/core/market/identity/providers.ts';
import { PartitionEvents } from '../../../src/stream/partition-events.ts';
import { BarHarness, TOPIC } from '../../support/bars/harness.ts';
import { misplace } from '../../support/bus/postgres-bus.ts';
import { sharedPostgres } from '../../support/servers/postgres.ts';

const PARTITIONS = 16;
const [SENT, MAPPED] = ['kPEPE', '1000PEPE'];
const EVENT = {
  provider: 'hl',
  symbol: SENT,
  kind: 'tick',
  src_ts: '2025-10-24T14:02:01Z',
  price: 1,
  side: 'Bid',
  trade_id: 'T-1',
};

void test('a record is forwarded once, also while only one member knows the new name of its symbol', async (t) => {
  const server = await sharedPostgres();
  t.teardown(() => server.stop());
  const url = await server.createDatabase(undefined, { schema: false });
  const harness = await BarHarness.open(t, url, { kind: 'postgres' }, PARTITIONS);
  const there = partitionOf(MAPPED, PARTITIONS);
  const elsewhere = partitionOf(SENT.toUpperCase(), PARTITIONS);
  t.not(there, elsewhere, 'the two members want it in different places');
  const partsOf = (declared: ProviderDeclarations): PartitionEvents =>
    new PartitionEvents(harness.bus, TOPIC, providersOf(declared));
  const knowing = partsOf({ hl: { symbols: { [SENT]: MAPPED } } });
  const unknowing = partsOf({});
  await misplace(harness.client, TOPIC, elsewhere, [{ key: SENT, text: JSON.stringify(EVENT) }]);
  // the one that knows owns the partition where the other would put it, and the other way round
  const owners = new Map([
    [elsewhere, knowing],
    [there, unknowing],
  ]);
  const found: unknown[] = [];
  for (let round = 0; round < 5; round += 1) {
    for (const [partition, events] of owners) {
      const parsed = events.parse(await harness.bus.read(TOPIC, partition, null, 100));
      const positions = new Set(found);
      await events.forward(parsed, (position) => positions.has(`${partition}|${position}`));
      for (const { delivery } of parsed) found.push(`${partition}|${delivery.position}`);
    }
  }
  t.equal(new Set(found).size, 2, 'as it came, and where it belongs');
  const [moved] = await harness.bus.read(TOPIC, there, null, 100);
  t.equal(moved?.eventId, `hl|${MAPPED}|2025-10-24T14:02:01.000000Z|${numberOf('T-1')}`);
  // whoever reads it finds the same event, whatever is declared there
  for (const declared of [
    {},
    { hl: { symbols: { [SENT]: MAPPED } } },
    { hl: { identity: 'content' } },
  ] as const) {
    t.match(decodeEvent(moved?.data ?? new Uint8Array(), 'json', providersOf(declared)), {
      symbol: MAPPED,
      eventId: moved?.eventId,
      side: 1,
      notes: undefined,
    });
  }
});

function numberOf(id: string): string {
  const event = decodeEvent(Buffer.from(JSON.stringify({ ...EVENT, trade_id: id })), 'json');
  return event.kind === 'tick' ? `${event.seq}` : '';
}
