import { test } from 'tap';
import { ApiError } from '../../../src/client/api-error.ts';
import { Listing, type ListOptions } from '../../../src/client/listing.ts';
import { Transport } from '../../../src/client/transport.ts';
import { failure, json, ScriptedFetch, type Answer } from './scripted-fetch.ts';

function listingOf(
  options: ListOptions,
  ...answers: Answer[]
): { script: ScriptedFetch; listing: Listing<number> } {
  const script = new ScriptedFetch(...answers);
  const transport = new Transport({ url: 'http://server', fetch: script.fetch, random: () => 0 });
  const listing = new Listing(transport, 'v1/bars', { symbol: 'A' }, options, (item) => Number(item) * 10);
  return { script, listing };
}

const cursors = ({ sent }: ScriptedFetch): (string | null)[] =>
  sent.map(({ url }) => url.searchParams.get('cursor'));

void test('items of all pages, in order, each page asked for when it is needed', async (t) => {
  const pages = [
    json({ items: [1, 2], next: 'c1' }),
    json({ items: [], next: 'c2' }),
    json({ items: [3], next: null }),
  ];
  const { script, listing } = listingOf({ limit: 2 }, ...pages);
  const seen: number[] = [];
  for await (const item of listing) {
    seen.push(item);
    if (item === 20) t.equal(script.sent.length, 1, 'the second page was not needed yet');
  }
  t.strictSame(seen, [10, 20, 30]);
  t.strictSame(cursors(script), [null, 'c1', 'c2']);
  t.ok(
    script.sent.every(
      ({ url }) => url.searchParams.get('limit') === '2' && url.searchParams.get('symbol') === 'A',
    ),
  );
});

void test('a page in the middle that fails for a moment is asked for again by the same cursor', async (t) => {
  const { script, listing } = listingOf(
    {},
    json({ items: [1], next: 'c1' }),
    failure(503, 'unavailable'),
    json({ items: [2], next: null }),
  );
  const seen: number[] = [];
  for await (const item of listing) seen.push(item);
  t.strictSame(seen, [10, 20]);
  t.strictSame(cursors(script), [null, 'c1', 'c1']);
});

void test('leaving the loop asks for nothing more', async (t) => {
  const { script, listing } = listingOf(
    {},
    json({ items: [1], next: 'c1' }),
    json({ items: [2], next: null }),
  );
  for await (const item of listing) if (item === 10) break;
  t.equal(script.unused, 1);
});

void test('answers that are no page are errors, and so is a cursor that leads to itself', async (t) => {
  for (const body of [{}, { items: [1] }, { items: 1, next: null }, [1]])
    await t.rejects(listingOf({}, json(body)).listing.page(), { code: 'bad_answer' });
  const { listing } = listingOf({}, json({ items: [1], next: 'c' }), json({ items: [2], next: 'c' }));
  await t.rejects(async () => {
    for await (const item of listing) t.ok(item);
  }, ApiError);
});

void test('bytes of a format, and the cursor of its link', async (t) => {
  const headers = { 'content-type': 'text/csv', link: '</v1/bars?symbol=A&cursor=a%2Bb>; rel="next"' };
  const { script, listing } = listingOf(
    { limit: 1 },
    new Response('a,b\r\n', { headers }),
    new Response('x'),
  );
  const { contentType, next, body } = await listing.as('csv');
  t.equal(contentType, 'text/csv');
  t.equal(next, 'a+b');
  t.equal(await new Response(body).text(), 'a,b\r\n');
  t.equal(script.sent[0].headers['accept'], 'text/csv');
  t.equal((await listing.as('arrow', next as string)).next, null);
  t.strictSame(cursors(script), [null, 'a+b']);
});
