import { join } from 'node:path';
import { test } from 'tap';
import { ReplaySource } from '../../../../src/sim/source/replay.ts';

function lines(numbers: readonly (number | bigint)[]): string {
  return numbers.map((number) => `{"tick_number":"${number}","transactions":[{},{}]}`).join('\n');
}

void test('numbers with holes are found by the next one that there is', async (t) => {
  const folder = t.testdir({ ticks: lines([5, 7, 100, 2n ** 63n]) });
  const source = await ReplaySource.read(join(folder, 'ticks'));
  t.equal(source.size, 4);
  t.strictSame(
    [0n, 5n, 6n, 7n, 8n, 2n ** 63n, 2n ** 64n - 1n].map((number) => source.indexFrom(number)),
    [0, 0, 1, 1, 2, 3, 4],
  );
  t.strictSame(
    [5n, 6n, 100n, 2n ** 63n].map((number) => source.indexOf(number)),
    [0, -1, 2, 3],
  );
  t.strictSame(
    [0, 1, 2, 3].map((index) => source.numberAt(index)),
    [5n, 7n, 100n, 2n ** 63n],
  );
  t.strictSame(
    [0, 2, 4].map((index) => source.transactionsBefore(index)),
    [0n, 4n, 8n],
  );
});

void test('lines out of order keep their order', async (t) => {
  const folder = t.testdir({ ticks: lines([5, 9, 7, 5, 11]) });
  const source = await ReplaySource.read(join(folder, 'ticks'));
  t.strictSame(
    [6n, 8n, 10n, 12n].map((number) => source.indexFrom(number)),
    [1, 1, 4, 5],
  );
  t.strictSame(
    [5n, 7n, 6n].map((number) => source.indexOf(number)),
    [0, 2, -1],
  );
});

void test('a file of more ticks than a chunk, and one without any', async (t) => {
  const numbers = Array.from({ length: 1300 }, (_, i) => 10 + 2 * i);
  const folder = t.testdir({ ticks: `${lines(numbers)}\n\n`, none: '\n' });
  const source = await ReplaySource.read(join(folder, 'ticks'));
  const chunk = await source.chunk(0, 2);
  t.equal(chunk.first, 1024);
  t.equal(chunk.end, 1300);
  // tag and varint of the number, an empty vdf_proof, two transactions with nothing in them
  t.equal(Buffer.from(chunk.message(1299)).toString('hex'), '08b01412001a020a001a020a00');
  t.equal((await ReplaySource.read(join(folder, 'none'))).size, 0);
});
