import { test } from 'tap';
import { murmur2, partitionOf } from '../../../../src/core/bus/partitions.ts';

// the vectors of Kafka's own test of its murmur2
const VECTORS: [string, number][] = [
  ['21', -973932308],
  ['foobar', -790332482],
  ['a-little-bit-long-string', -985981536],
  ['a-little-bit-longer-string', -1486304829],
  ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971],
  ['abc', 479470107],
];

void test("murmur2 answers what Kafka's own does", (t) => {
  for (const [text, expected] of VECTORS) t.equal(murmur2(Buffer.from(text)), expected, text);
  t.end();
});

void test('every key has one partition in range, and all partitions are used', (t) => {
  const seen = new Set<number>();
  for (let index = 0; index < 1000; index += 1) {
    const partition = partitionOf(`SYM${index}`, 7);
    t.equal(partition, partitionOf(`SYM${index}`, 7));
    seen.add(partition);
  }
  t.strictSame(
    [...seen].sort((a, b) => a - b),
    [0, 1, 2, 3, 4, 5, 6],
  );
  t.equal(partitionOf('SPY', 1), 0);
  t.end();
});
