import { test } from 'tap';
import { ReplayRefused } from '../../../../src/core/replay/refusal.ts';
import { formatMicros, parseIsoMicros } from '../../../../src/core/time.ts';
import { nextTime } from '../../../../src/serve/replay/cron.ts';
import { firing, requestAt } from '../../../../src/serve/replay/schedule.ts';

const FIELDS = { provider: 'ibkr', symbols: ['SPY'] };

function next(cron: string, timezone: string, after: string): string | null {
  const at = nextTime({ cron, timezone }, parseIsoMicros(after));
  return at === null ? null : formatMicros(at);
}

function fieldOf(work: () => unknown): string | null {
  try {
    work();
    return null;
  } catch (error) {
    if (error instanceof ReplayRefused && error.refusal.kind === 'bad_field') return error.refusal.field;
    throw error;
  }
}

void test('when a cron expression is due, by the clock of its zone', (t) => {
  t.equal(next('30 22 * * 1-5', 'UTC', '2025-10-31T22:30:00Z'), '2025-11-03T22:30:00.000000Z');
  t.equal(next('0 9 * * *', 'America/New_York', '2025-11-01T00:00:00Z'), '2025-11-01T13:00:00.000000Z');
  t.equal(
    next('0 9 * * *', 'America/New_York', '2025-11-02T00:00:00Z'),
    '2025-11-02T14:00:00.000000Z',
    'winter',
  );
  t.equal(next('*/2 * * * * *', 'UTC', '2025-11-01T00:00:00.500000Z'), '2025-11-01T00:00:02.000000Z');
  t.equal(next('0 0 30 2 *', 'UTC', '2025-11-01T00:00:00Z'), null, 'never');
  t.equal(
    fieldOf(() => next('61 * * * *', 'UTC', '2025-11-01')),
    'cron',
  );
  t.equal(
    fieldOf(() => next('', 'UTC', '2025-11-01')),
    'cron',
  );
  t.equal(
    fieldOf(() => next('* * * * *', 'Nowhere/City', '2025-11-01')),
    'timezone',
  );
  t.end();
});

void test('a range that ends when it is due', (t) => {
  const due = parseIsoMicros('2025-11-03T22:30:00Z');
  const { startUs, endUs } = requestAt({ ...FIELDS, last: '24h' }, due);
  t.equal(formatMicros(startUs), '2025-11-02T22:30:00.000000Z');
  t.equal(endUs, due);
  t.equal(
    fieldOf(() => requestAt({ ...FIELDS, last: '24h', start: '2025-01-01' }, due)),
    'last',
  );
  t.equal(
    fieldOf(() => requestAt({ ...FIELDS, last: 'a day' }, due)),
    'last',
  );
  t.equal(
    fieldOf(() => requestAt({ ...FIELDS, last: '0s' }, due)),
    'last',
  );
  t.equal(
    fieldOf(() => requestAt(FIELDS, due)),
    'start',
  );
  t.end();
});

void test('times that passed unseen are made up for once, by the last of them', (t) => {
  const due = {
    id: 1n,
    name: 'nightly',
    cron: '0 * * * *',
    timezone: 'UTC',
    fields: { ...FIELDS, last: '1h' },
    dueUs: parseIsoMicros('2025-11-03T10:00:00Z'),
    nowUs: parseIsoMicros('2025-11-03T13:20:00Z'),
  };
  const { request, topic, nextUs } = firing(due, 'mdp.events');
  t.equal(formatMicros(request?.endUs ?? 0n), '2025-11-03T13:00:00.000000Z');
  t.equal(formatMicros(nextUs ?? 0n), '2025-11-03T14:00:00.000000Z');
  t.equal(topic, 'mdp.events');
  const broken = firing({ ...due, fields: { symbols: [] } }, 'mdp.events');
  t.strictSame(
    broken,
    { request: null, topic: 'mdp.events', nextUs: null },
    'one that is no request any more starts nothing',
  );
  t.end();
});
