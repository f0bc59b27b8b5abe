import { after, test, type Test } from 'tap';
import { replayRoutes } from '../../../../src/serve/api/routes/replay.ts';
import { scheduleRoutes } from '../../../../src/serve/api/routes/schedules.ts';
import { startApi, type Answer, type TestApi } from '../../../support/api/server.ts';
import { startPostgresBus } from '../../../support/bus/postgres-bus.ts';
import { ReplayHarness, START, SYMBOLS } from '../../../support/replay/harness.ts';
import { stopStoreServer } from '../../../support/webhook/harness.ts';

after(stopStoreServer);

interface Asking {
  harness: ReplayHarness;
  api: TestApi;
  ask: (
    method: string,
    path: string,
    body?: unknown,
  ) => Promise<{ status: number; body: Record<string, unknown> }>;
}

async function opened(t: Test): Promise<Asking> {
  const server = await startPostgresBus();
  t.teardown(() => server.stop());
  const harness = await ReplayHarness.open(server, server.opener.address);
  t.teardown(() => harness.close());
  await harness.makeTicks(400, 500);
  await harness.replayer();
  const { replays } = harness;
  const api = await startApi(t, { routes: [replayRoutes(replays), scheduleRoutes(replays)] });
  const ask: Asking['ask'] = async (method, path, body) => {
    const answer: Answer = await api.ask({
      method,
      path,
      headers: {
        host: `127.0.0.1:${api.port}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status: answer.status, body: JSON.parse(answer.text) as Record<string, unknown> };
  };
  return { harness, api, ask };
}

const BODY = {
  provider: 'made',
  symbols: ['SPY', 'AAPL', 'MSFT', 'NVDA'],
  start: '2025-11-03T14:00:00Z',
  end: '2025-11-03T15:00:00Z',
  speed: 0.0,
};
const FIELDS = [
  'run_id',
  'job_name',
  'provider',
  'status',
  'symbols',
  'rows_written',
  'min_ts',
  'max_ts',
  'started_at',
  'completed_at',
  'error_message',
  'metadata',
];
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/;

void test('replays over HTTP', async (t) => {
  const asking = await opened(t);
  await t.test('the requests of the contract', (t) => contract(t, asking));
  await t.test('orders and their refusals', (t) => orders(t, asking));
  await t.test('what no request is', (t) => mistakes(t, asking));
  await t.test('schedules', (t) => schedules(t, asking));
});

async function contract(t: Test, { harness, ask }: Asking): Promise<void> {
  const slow = await ask('POST', '/v1/replay/ticks', { ...BODY, speed: 0.001 });
  t.equal(slow.status, 200);
  t.strictSame(Object.keys(slow.body), FIELDS, 'the fields, in their order');
  t.match(slow.body, {
    run_id: Number,
    job_name: 'tick_replay',
    provider: 'made',
    status: 'running',
    symbols: SYMBOLS,
    min_ts: START,
    started_at: TIME,
    completed_at: null,
    error_message: null,
    metadata: { speed: 0.001 },
  });
  const id = Number(slow.body['run_id']);
  t.equal((await ask('POST', `/v1/replay/ticks/${id}/speed`, { speed: 0 })).status, 200);
  await harness.ended(id);
  const run = await ask('GET', `/v1/replay/ticks/${id}`);
  t.equal(run.status, 200);
  t.strictSame(Object.keys(run.body), FIELDS);
  t.match(run.body, { status: 'success', rows_written: 400, max_ts: TIME, completed_at: TIME });
  const more = await ask('POST', '/v1/replay/ticks', BODY);
  await harness.ended(Number(more.body['run_id']));
  const page = await ask('GET', '/v1/replay/ticks?limit=1&status=success');
  t.match(page.body, { items: [{ run_id: more.body['run_id'] }] });
  const rest = await ask(
    'GET',
    `/v1/replay/ticks?limit=1&status=success&cursor=${String(page.body['next'])}`,
  );
  t.match(rest.body, { items: [{ run_id: id }], next: null });
  t.equal((await ask('GET', '/v1/replay/ticks/999999')).status, 404);
}

async function orders(t: Test, { harness, ask }: Asking): Promise<void> {
  const { body } = await ask('POST', '/v1/replay/ticks', { ...BODY, speed: 0.001 });
  const path = `/v1/replay/ticks/${Number(body['run_id'])}`;
  t.match(await ask('POST', `${path}/pause`), { status: 200, body: { status: 'paused' } });
  t.match(await ask('POST', `${path}/resume`), { status: 200, body: { status: 'running' } });
  t.match(await ask('POST', `${path}/seek`, { to: '2025-11-03T14:00:00.190Z' }), { status: 200 });
  t.match(await ask('POST', `${path}/seek`, { to: '2025-11-04' }), {
    status: 400,
    body: { error: { code: 'bad_request' } },
  });
  t.match(await ask('POST', `${path}/speed`, { speed: -1 }), { status: 400 });
  t.match(await ask('POST', `${path}/cancel`), {
    status: 200,
    body: { status: 'cancelled', completed_at: TIME },
  });
  for (const word of ['pause', 'resume', 'cancel'])
    t.match(await ask('POST', `${path}/${word}`), { status: 409, body: { error: { code: 'conflict' } } });
  t.match(await ask('POST', '/v1/replay/ticks/999999/pause'), { status: 404 });
  t.equal((await harness.run(Number(body['run_id']))).status, 'cancelled');
}

async function mistakes(t: Test, { ask }: Asking): Promise<void> {
  const bad: [Record<string, unknown>, string][] = [
    [{ start: '2025-11-03T16:00:00Z' }, 'body.start'],
    [{ speed: -1 }, 'body.speed'],
    [{ symbols: [] }, 'body.symbols'],
    [{ start: 'soon' }, 'body.start'],
    [{ sources: ['bars'] }, 'body.interval'],
    [{ topic: 'ticks.received' }, 'body.topic'],
  ];
  for (const [fields, path] of bad) {
    const { status, body } = await ask('POST', '/v1/replay/ticks', { ...BODY, ...fields });
    t.equal(status, 400, path);
    t.match(body, { error: { code: 'bad_request', details: [{ path }] } });
  }
  t.equal((await ask('POST', '/v1/replay/ticks', { ...BODY, sped: 1 })).status, 400, 'an unknown field');
  const unknown = await ask('POST', '/v1/replay/ticks', { ...BODY, symbols: ['NOSUCH'] });
  t.match(unknown, { status: 404, body: { error: { code: 'not_found', message: /NOSUCH/ } } });
}

async function schedules(t: Test, { ask }: Asking): Promise<void> {
  const request = { provider: 'made', symbols: ['SPY'], last: '24h', speed: 0 };
  const nightly = { name: 'nightly', cron: '30 22 * * 1-5', timezone: 'America/New_York', request };
  const made = await ask('POST', '/v1/schedules', nightly);
  t.match(made, {
    status: 200,
    body: { name: 'nightly', enabled: true, next_at: TIME, last_run_id: null, request },
  });
  t.equal((await ask('POST', '/v1/schedules', nightly)).status, 409);
  t.match(await ask('GET', '/v1/schedules'), { status: 200, body: { items: [{ name: 'nightly' }] } });
  t.match(await ask('PATCH', '/v1/schedules/nightly', { enabled: false }), {
    status: 200,
    body: { enabled: false },
  });
  t.match(await ask('GET', '/v1/schedules/nightly'), { status: 200, body: { enabled: false } });
  for (const [fields, path] of [
    [{ cron: 'whenever' }, 'body.cron'],
    [{ cron: '0 0 30 2 *' }, 'body.cron'],
    [{ timezone: 'Mars' }, 'body.timezone'],
    [{ name: 'a b' }, 'body.name'],
    [{ request: { ...request, last: 'long' } }, 'body.last'],
  ] as const)
    t.match(await ask('POST', '/v1/schedules', { ...nightly, name: 'other', ...fields }), {
      status: 400,
      body: { error: { details: [{ path }] } },
    });
  t.equal(
    (await ask('POST', '/v1/schedules', { ...nightly, name: 'x', request: { ...request, symbols: ['NO'] } }))
      .status,
    404,
  );
  t.match(await ask('DELETE', '/v1/schedules/nightly'), { status: 200, body: { removed: 'nightly' } });
  t.equal((await ask('DELETE', '/v1/schedules/nightly')).status, 404);
}
