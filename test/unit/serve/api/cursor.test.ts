import fc from 'fast-check';
import { test } from 'tap';
import { z } from 'zod';
import { decodeCursor, encodeCursor, identityOf } from '../../../../src/serve/api/cursor.ts';
import { ApiError } from '../../../../src/serve/api/errors.ts';

const key = z.strictObject({ at: z.string() });
const json = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

void test('a cursor gives the key back to its own query, whatever the page is like', (t) => {
  const identity = identityOf('bars', { symbol: 'BTC', limit: 5, cursor: undefined, format: 'csv' });
  const cursor = encodeCursor(identity, { at: 'ß "x"' });
  t.match(cursor, /^[\w-]+$/);
  const other = identityOf('bars', { format: 'json', symbol: 'BTC', limit: 9, cursor, start: undefined });
  t.strictSame(decodeCursor(cursor, other, key), { at: 'ß "x"' });
  t.end();
});

void test('another route or another parameter is another query', (t) => {
  const cursor = encodeCursor(identityOf('bars', { symbol: 'BTC', start: 1n }), { at: '1' });
  for (const identity of [
    identityOf('signals', { symbol: 'BTC', start: 1n }),
    identityOf('bars', { symbol: 'ETH', start: 1n }),
    identityOf('bars', { symbol: 'BTC', start: 2n }),
    identityOf('bars', { symbol: 'BTC' }),
    identityOf('bars', { provider: 'BTC', start: 1n }),
  ])
    t.throws(() => decodeCursor(cursor, identity, key), ApiError);
  t.end();
});

void test('nothing but a cursor is one', (t) => {
  const identity = identityOf('bars', {});
  const refuse = (cursor: string): void => {
    t.throws(() => decodeCursor(cursor, identity, key), {
      code: 'bad_request',
      details: [{ path: 'query.cursor' }],
    });
  };
  refuse('');
  refuse('not base64url!');
  refuse(`${encodeCursor(identity, { at: '1' })}=`);
  refuse(encodeCursor(identity, { at: '1', other: '2' }));
  refuse(encodeCursor(identity, {}));
  refuse(json(null));
  refuse(json([]));
  refuse(json({ of: identity, key: { at: 1 } }));
  refuse(json({ of: identity, key: { at: '1' }, more: 1 }));
  refuse(json({ of: identity, key: JSON.parse('{"__proto__": {"at": "1"}}') as unknown }));
  fc.assert(
    fc.property(fc.string(), (text) => refuse(text)),
    process.env['SEED'] === undefined ? {} : { seed: Number(process.env['SEED']) },
  );
  t.end();
});
