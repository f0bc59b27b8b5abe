import { test } from 'tap';
import { isFenced, sqlstateOf } from '../../../../src/store/postgres/sqlstate.ts';

void test('only what a server says is a SQLSTATE', async (t) => {
  for (const code of ['23505', '42P01', 'XX000', 'MDF01', 'P0004']) t.equal(sqlstateOf({ code }), code);
  for (const code of ['ECONNRESET', 'EPIPE', 'ETIMEDOUT', '', 5, undefined])
    t.equal(sqlstateOf({ code }), undefined, String(code));
  for (const error of [null, undefined, 'text', new Error('none')]) t.equal(sqlstateOf(error), undefined);
});

void test('a fenced transaction is known by its code', async (t) => {
  t.ok(isFenced({ code: 'MDF01' }));
  t.notOk(isFenced({ code: '40001' }));
  t.notOk(isFenced(new Error('no answer')));
});
