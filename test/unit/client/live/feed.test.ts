import { test } from 'tap';
import { ApiError } from '../../../../src/client/api-error.ts';
import { Feed, type FeedOptions } from '../../../../src/client/live/feed.ts';
import { Transport, type ClientOptions } from '../../../../src/client/transport.ts';
import { seededRandom } from '../../../support/random.ts';
import {
  failure,
  refused,
  ScriptedFetch,
  silence,
  type Answer,
  type SentRequest,
} from '../scripted-fetch.ts';

const encoder = new TextEncoder();
const tick = (id: number): string => `id: ${id}\nevent: tick\ndata: {"n":${id}}\n\n`;
const heartbeat = (id: number): string => `id: ${id}\nevent: heartbeat\ndata: {}\n\n`;

/** A stream of these pieces, and then its end, a cut, or nothing at all any more. */
function stream(
  pieces: readonly (string | Uint8Array)[],
  then: 'end' | 'cut' | 'silence' = 'cut',
): (request: SentRequest) => Response {
  return ({ signal }) => {
    const left = [...pieces];
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        signal.addEventListener('abort', () => controller.error(signal.reason));
      },
      pull(controller) {
        const piece = left.shift();
        if (piece !== undefined)
          controller.enqueue(typeof piece === 'string' ? encoder.encode(piece) : piece);
        else if (then === 'end') controller.close();
        else if (then === 'cut') controller.error(new TypeError('terminated'));
        else return new Promise<void>(() => {});
      },
    });
    return new Response(body, { headers: { 'content-type': 'text/event-stream' } });
  };
}

interface Setup extends FeedOptions {
  query?: Record<string, string>;
  client?: Partial<ClientOptions>;
}

function feedOf(
  { query = {}, client, ...options }: Setup,
  ...answers: Answer[]
): { script: ScriptedFetch; feed: Feed } {
  const script = new ScriptedFetch(...answers);
  const transport = new Transport({ url: 'http://server', fetch: script.fetch, random: () => 0, ...client });
  return { script, feed: new Feed(transport, 'v1/stream', { topic: 'ticks', ...query }, options) };
}

/** The ids of so many events; then the loop is left. */
async function take(feed: Feed, count: number): Promise<number[]> {
  const ids: number[] = [];
  for await (const { id } of feed) {
    ids.push(Number(id));
    if (ids.length === count) break;
  }
  return ids;
}

const lastIds = ({ sent }: ScriptedFetch): (string | undefined)[] =>
  sent.map(({ headers }) => headers['last-event-id']);

void test('after a cut, and after an end, it goes on behind the last event', async (t) => {
  const { script, feed } = feedOf(
    { query: { from: '2026-01-01' } },
    stream([tick(1), `${tick(2)}id: 3\nevent: ti`]),
    stream([tick(3)], 'end'),
    stream([tick(4)]),
  );
  t.strictSame(await take(feed, 4), [1, 2, 3, 4]);
  t.strictSame(lastIds(script), [undefined, '2', '3']);
  t.strictSame(
    script.sent.map(({ url }) => url.searchParams.get('from')),
    ['2026-01-01', null, null],
    'from is where it began, not where it goes on',
  );
});

void test('what the server repeats where connections meet is handed out once', async (t) => {
  const { feed } = feedOf({}, stream([tick(1), tick(2), tick(3)]), stream([tick(2), tick(3), tick(4)]));
  t.strictSame(await take(feed, 4), [1, 2, 3, 4]);
});

void test('heartbeats are not handed out; their position is gone on from', async (t) => {
  const { script, feed } = feedOf(
    {},
    stream([tick(1), heartbeat(8)]),
    stream(['id: 9\n\n']),
    stream([tick(10)]),
  );
  t.strictSame(await take(feed, 2), [1, 10]);
  t.strictSame(lastIds(script), [undefined, '8', '9']);
});

void test('events without an id of their own are all handed out', async (t) => {
  const lagged = 'event: lagged\ndata: {}\n\n';
  const { feed } = feedOf({}, stream([tick(1), lagged, lagged, tick(2)]));
  const seen: (string | null)[] = [];
  for await (const { event, id } of feed) {
    seen.push(event === 'lagged' ? event : id);
    if (id === '2') break;
  }
  t.strictSame(seen, ['1', 'lagged', 'lagged', '2']);
});

void test('begins behind an id that it is given', async (t) => {
  const { script, feed } = feedOf({ lastEventId: '41', query: { from: 'x' } }, stream([tick(42)]));
  t.strictSame(await take(feed, 1), [42]);
  t.strictSame(lastIds(script), ['41']);
  t.equal(script.sent[0].url.searchParams.get('from'), null);
});

void test('a connection that falls silent is given up', async (t) => {
  const cuts: string[] = [];
  const { script, feed } = feedOf(
    { silenceMsMax: 30, onCut: ({ code }) => cuts.push(code) },
    stream([tick(1)], 'silence'),
    stream([tick(2)]),
  );
  t.strictSame(await take(feed, 2), [1, 2]);
  t.strictSame(cuts, ['timeout']);
  t.ok(script.sent[0].signal.aborted);
});

void test('a server that is away: the first connection is tried as often as a request, a later one for ever', async (t) => {
  const first = feedOf({ client: { attemptsMax: 2 } }, refused(), refused(), stream([tick(1)]));
  await t.rejects(first.feed.next(), { code: 'unreachable' });
  t.equal(first.script.unused, 1);
  t.strictSame(await first.feed.next(), { done: true, value: undefined }, 'it is over');
  const later = feedOf(
    { client: { attemptsMax: 2 } },
    stream([tick(1)]),
    refused(),
    failure(503, 'unavailable'),
    failure(500, 'internal'),
    refused(),
    stream([tick(2)]),
  );
  t.strictSame(await take(later.feed, 2), [1, 2]);
});

void test('waits as long as the server asks for once it is away, and not after a cut', async (t) => {
  const waits: number[] = [];
  const onCut = (_: ApiError, waitMs: number): void => void waits.push(waitMs);
  const streamed = stream([`retry: 300\n\n${tick(1)}`]);
  const { feed } = feedOf(
    { onCut },
    streamed,
    refused(),
    failure(503, 'unavailable', { 'retry-after': '1' }),
    stream([tick(2)]),
  );
  t.strictSame(await take(feed, 2), [1, 2]);
  t.strictSame(waits, [50, 300, 1000]);
});

void test('what does not pass is thrown, also where it was connected before', async (t) => {
  for (const [status, code] of [
    [401, 'unauthorized'],
    [400, 'bad_request'],
    [410, 'gone'],
  ] as const) {
    const { feed } = feedOf({}, stream([tick(1)]), failure(status, code));
    t.match(await feed.next(), { value: { id: '1' } });
    await t.rejects(feed.next(), { code, status });
  }
});

void test('return() ends it while it waits for an event, for an answer and for the next connection', async (t) => {
  for (const answer of [
    stream([tick(1)], 'silence'),
    silence,
    failure(503, 'unavailable', { 'retry-after': '20' }),
  ]) {
    const { script, feed } = feedOf({}, answer);
    const first = feed.next();
    if (typeof answer === 'function' && answer !== silence) await first;
    const waiting = feed.next();
    await feed.return();
    t.strictSame(await waiting, { done: true, value: undefined });
    await first;
    t.ok(script.sent.every(({ signal }) => signal.aborted));
  }
});

void test('the signal ends it without an error, at once', async (t) => {
  const controller = new AbortController();
  const { script, feed } = feedOf(
    { signal: controller.signal },
    stream([tick(1) + tick(2) + tick(3)], 'silence'),
  );
  const seen: string[] = [];
  for await (const { id } of feed) {
    seen.push(id as string);
    if (id === '2') controller.abort();
  }
  t.strictSame(seen, ['1', '2']);
  t.ok(script.sent[0].signal.aborted);
  const never = feedOf({ signal: controller.signal });
  t.strictSame(await never.feed.next(), { done: true, value: undefined });
  t.equal(never.script.sent.length, 0);
});

void test('it reads no more than is taken', async (t) => {
  let pulled = 0;
  const { feed } = feedOf({}, () => {
    const body = new ReadableStream<Uint8Array>(
      {
        pull(controller) {
          pulled += 1;
          controller.enqueue(encoder.encode(tick(pulled)));
        },
      },
      { highWaterMark: 0 },
    );
    return new Response(body);
  });
  for (let taken = 1; taken <= 50; taken += 1) {
    await feed.next();
    t.ok(pulled <= taken + 1, `${pulled} pieces read, ${taken} events taken`);
  }
  await feed.return();
});

void test('cut anywhere, with repetitions, it hands out each event once and in order', async (t) => {
  const random = seededRandom();
  t.comment(`SEED=${random.seed}`);
  const count = 250;
  /** Serves what follows the id, from a little before it, in pieces that end anywhere, and breaks off. */
  const server = (request: SentRequest): Response => {
    const after = Number(request.headers['last-event-id'] ?? 0);
    const from = Math.max(1, after + 1 - random.whole(0, 5));
    let text = '';
    for (let id = from; id <= count; id += 1)
      text += random.percent(5) ? heartbeat(id - 1) + tick(id) : tick(id);
    const bytes = encoder.encode(text);
    const end = random.percent(1) ? bytes.length : random.whole(0, Math.min(bytes.length, 1500));
    const pieces: Uint8Array[] = [];
    for (let at = 0; at < end;) {
      const next = Math.min(end, at + random.whole(1, 400));
      pieces.push(bytes.subarray(at, next));
      at = next;
    }
    return stream(pieces, random.pick(['end', 'cut']))(request);
  };
  const { script, feed } = feedOf({}, ...Array.from({ length: 1000 }, () => server));
  t.strictSame(
    await take(feed, count),
    Array.from({ length: count }, (_, at) => at + 1),
  );
  t.comment(`${script.sent.length} connections`);
});

void test('an error of the one who reads is no cut', async (t) => {
  const { script, feed } = feedOf({}, stream([tick(1)], 'silence'), stream([tick(2)]));
  await t.rejects(async () => {
    for await (const { id } of feed) throw new ApiError('unreachable', `mine, at ${id}`);
  }, /mine, at 1/);
  t.equal(script.unused, 1);
});
