import { test } from 'tap';
import { lockWarning } from '../../../../src/store/chunks/locks.ts';

const SERVER = { table: 'ticks', locksPerChunk: 3, maxLocksPerTransaction: 64, transactions: 100 };

void test('chunks that two readers cannot lock at once are warned of in time', (t) => {
  t.equal(lockWarning({ ...SERVER, chunks: 533 }), null);
  t.match(
    lockWarning({ ...SERVER, chunks: 534 }),
    /^ticks has 534 chunks: .* 1602 of the server's 6400 locks/,
  );
  t.match(lockWarning({ ...SERVER, chunks: 2002 }), /max_locks_per_transaction = 241 and restart/);
  t.end();
});
