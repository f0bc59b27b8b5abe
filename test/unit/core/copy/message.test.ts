import { test } from 'tap';
import { COPY_MESSAGE_BYTES, CopyMessages } from '../../../../src/core/copy/message.ts';
import { ByteSink } from '../../../../src/core/copy/sink.ts';
import type { CopyTable } from '../../../../src/core/copy/tables.ts';
import { copyDataPayloads, rowsByMessage } from './pgcopy.ts';

const TABLE: CopyTable = { name: 'one', columns: [{ name: 'value', type: 'bytea', nullable: false }] };

function writeRow(out: CopyMessages, size: number): void {
  const { sink } = out;
  sink.ensure(6 + size);
  sink.view.setInt16(sink.length, 1);
  sink.view.setInt32(sink.length + 2, size);
  sink.bytes.fill(0x64, sink.length + 6, sink.length + 6 + size); // 'd': no reader may look for it
  out.endRow(sink.length + 6 + size);
}

function sizes(sink: ByteSink): number[][] {
  return rowsByMessage(sink.bytes.subarray(0, sink.length), TABLE).map((rows) =>
    rows.map(({ value }) => (value as Buffer).length),
  );
}

void test('a COPY without rows is header, end and CopyDone', async (t) => {
  const [sink, out] = [new ByteSink(), new CopyMessages()];
  out.begin(sink);
  out.finish();
  t.strictSame(sizes(sink), [[]]);
  t.equal(sink.length, 5 + 19 + 2 + 5);
});

void test('a message ends with the row that brings it to its size', async (t) => {
  const [sink, out] = [new ByteSink(), new CopyMessages()];
  out.begin(sink);
  const filling = COPY_MESSAGE_BYTES - 19 - 6;
  for (const size of [filling - 1, 10, filling + 19, 5, 3 * COPY_MESSAGE_BYTES]) writeRow(out, size);
  out.finish();
  t.strictSame(sizes(sink), [[filling - 1, 10], [filling + 19], [5, 3 * COPY_MESSAGE_BYTES], []]);
  const lengths = copyDataPayloads(sink.bytes.subarray(0, sink.length)).map(({ length }) => length);
  t.equal(lengths[1], COPY_MESSAGE_BYTES, 'exactly the size closes it too');
});

void test('a rollback takes rows and closed messages back', async (t) => {
  const [sink, out, plain, other] = [new ByteSink(), new CopyMessages(), new ByteSink(), new CopyMessages()];
  out.begin(sink);
  other.begin(plain);
  for (const size of [100, 30_000, 40_000, 7]) {
    writeRow(out, size);
    out.mark();
    for (const undone of [50_000, 70_000, 1]) writeRow(out, undone);
    out.rollback();
    writeRow(other, size);
  }
  out.finish();
  other.finish();
  t.strictSame(sizes(sink), [[100, 30_000, 40_000], [7]]);
  t.equal(Buffer.compare(sink.bytes.subarray(0, sink.length), plain.bytes.subarray(0, plain.length)), 0);
});

void test('a row beyond the reserved room is a broken invariant', async (t) => {
  const [sink, out] = [new ByteSink(), new CopyMessages()];
  out.begin(sink);
  t.throws(() => out.endRow(sink.bytes.length + 1), /reserved/);
});
