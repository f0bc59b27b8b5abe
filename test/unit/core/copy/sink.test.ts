import { test } from 'tap';
import { ByteSink, SINK_BYTES_MAX } from '../../../../src/core/copy/sink.ts';

void test('values are written big-endian one after the other', async (t) => {
  const sink = new ByteSink();
  sink.putInt16(-2);
  sink.putInt32(0x01020304);
  sink.putBytes(Uint8Array.of(9, 8, 7));
  const written = Buffer.from(sink.bytes.subarray(0, sink.length));
  t.equal(written.toString('hex'), 'fffe01020304090807');
});

void test('growth doubles and keeps what was written', async (t) => {
  const sink = new ByteSink();
  const capacities = new Set<number>();
  for (let i = 0; i < 200_000; i++) {
    sink.putInt32(i);
    capacities.add(sink.bytes.length);
  }
  t.equal(sink.length, 800_000);
  t.strictSame([...capacities], [65_536, 131_072, 262_144, 524_288, 1_048_576]);
  for (let i = 0; i < 200_000; i++) if (sink.view.getInt32(4 * i) !== i) t.fail(`value ${i}`);
  sink.ensure(10_000_000);
  t.equal(sink.bytes.length, 10_800_000, 'more than double when that is not enough');
});

void test('a sink does not grow beyond its limit', async (t) => {
  const sink = new ByteSink();
  sink.putInt32(1);
  t.throws(() => sink.ensure(SINK_BYTES_MAX), RangeError);
  t.equal(sink.length, 4);
  t.equal(sink.view.getInt32(0), 1);
});

void test('reset keeps the memory, adopt takes other memory', async (t) => {
  const sink = new ByteSink();
  sink.putInt32(1);
  const { bytes } = sink;
  sink.reset();
  t.equal(sink.length, 0);
  t.equal(sink.bytes, bytes);
  const recycled = new ArrayBuffer(100);
  sink.putInt32(2);
  sink.adopt(recycled);
  t.equal(sink.length, 0);
  sink.putInt32(3);
  t.equal(new DataView(recycled).getInt32(0), 3);
});

void test('memory travels: released, transferred, adopted again', async (t) => {
  const sink = new ByteSink();
  sink.putInt32(7);
  const written = sink.release() as Uint8Array<ArrayBuffer>;
  t.equal(written.length, 4);
  t.equal(written.buffer.byteLength, 65_536);
  t.equal(sink.length, 0);
  const elsewhere = structuredClone(written.buffer, { transfer: [written.buffer] });
  sink.putInt32(8);
  t.equal(sink.view.getInt32(0), 8, 'a sink without memory gets new memory');
  sink.adopt(elsewhere);
  sink.putInt32(9);
  t.equal(new DataView(elsewhere).getInt32(0), 9);
});

void test('the memory of an empty sink can be transferred too', async (t) => {
  const [first, second] = [new ByteSink(), new ByteSink()];
  const { buffer } = first.release() as Uint8Array<ArrayBuffer>;
  structuredClone(buffer, { transfer: [buffer] });
  t.equal(second.release().length, 0);
  first.putInt16(5);
  second.putInt16(6);
  t.equal(first.view.getInt16(0), 5);
  t.equal(second.view.getInt16(0), 6);
});
