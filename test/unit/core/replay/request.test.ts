import { test } from 'tap';
import { ReplayRefused, refusalText, type Refusal } from '../../../../src/core/replay/refusal.ts';
import { readRequest, requestFields, type ReplayFields } from '../../../../src/core/replay/request.ts';
import { statusAfter, type ReplayStatus } from '../../../../src/core/replay/control.ts';

const GOOD: ReplayFields = {
  provider: 'ibkr',
  symbols: ['nvda', 'AAPL', 'NVDA'],
  start: '2025-11-03T14:00:00Z',
  end: '2025-11-03T15:00:00',
  speed: 10,
};

function refusal(fields: ReplayFields): Refusal | null {
  try {
    readRequest(fields);
    return null;
  } catch (error) {
    if (!(error instanceof ReplayRefused)) throw error;
    return error.refusal;
  }
}

void test('a request in its canonical form', (t) => {
  t.strictSame(readRequest(GOOD), {
    providers: ['ibkr'],
    symbols: ['AAPL', 'NVDA'],
    sources: ['tick_data'],
    interval: null,
    startUs: 1_762_178_400_000_000n,
    endUs: 1_762_182_000_000_000n,
    speed: 10,
    pageRows: 20_000,
    topic: null,
    repair: false,
  });
  const { provider: _provider, ...rest } = GOOD;
  const full = readRequest({
    ...rest,
    providers: ['z', 'é'.slice(1) + 'a'],
    sources: ['bars', 'tick_data'],
    interval: '60s',
    max_batch_size: 5,
    topic: 'mine',
  });
  t.match(full, { sources: ['tick_data', 'bars'], interval: '1m', topic: 'mine', providers: ['a', 'z'] });
  t.strictSame(readRequest(requestFields(full)), full, 'it is restored from what is stored');
  t.end();
});

void test('what no request is', (t) => {
  const cases: [Partial<ReplayFields>, string][] = [
    [{ provider: undefined }, 'provider'],
    [{ provider: 'a|b' }, 'provider'],
    [{ providers: ['x'] }, 'providers'],
    [{ symbols: [] }, 'symbols'],
    [{ symbols: ['A|B'] }, 'symbols'],
    [{ symbols: Array.from({ length: 1_001 }, (_, at) => `S${at}`) }, 'symbols'],
    [{ start: undefined }, 'start'],
    [{ start: 'yesterday' }, 'start'],
    [{ end: '1999-01-01' }, 'end'],
    [{ start: '2025-11-03T15:00:00Z' }, 'start'],
    [{ speed: -1 }, 'speed'],
    [{ speed: NaN }, 'speed'],
    [{ speed: Infinity }, 'speed'],
    [{ sources: ['ticks'] }, 'sources'],
    [{ sources: [] }, 'sources'],
    [{ sources: ['bars'] }, 'interval'],
    [{ interval: '1m' }, 'interval'],
    [{ sources: ['bars'], interval: '1x' }, 'interval'],
    [{ max_batch_size: 0 }, 'max_batch_size'],
    [{ max_batch_size: 1.5 }, 'max_batch_size'],
    [{ topic: 'a b' }, 'topic'],
    [{ topic: 'mdp.events.dlq' }, 'topic'],
    [{ topic: 'mine', repair: true }, 'repair'],
  ];
  for (const [fields, field] of cases) {
    const found = refusal({ ...GOOD, ...fields });
    t.match(found, { kind: 'bad_field', field }, JSON.stringify(fields).slice(0, 60));
    if (found !== null) t.match(refusalText(found), field);
  }
  t.end();
});

function after(status: ReplayStatus): (ReplayStatus | null)[] {
  return (['pause', 'resume', 'change speed', 'seek', 'cancel'] as const).map((action) =>
    statusAfter(status, action),
  );
}

void test('what an operator may do to a run', (t) => {
  t.strictSame(after('pending'), ['paused', 'pending', 'pending', 'pending', 'cancelled']);
  t.strictSame(after('running'), ['paused', 'running', 'running', 'running', 'cancelled']);
  t.strictSame(after('paused'), ['paused', 'pending', 'paused', 'paused', 'cancelled']);
  for (const status of ['success', 'failed', 'cancelled'] as const)
    t.strictSame(after(status), [null, null, null, null, null]);
  t.end();
});
