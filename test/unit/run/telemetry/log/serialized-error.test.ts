import { DatabaseError } from 'pg';
import { test } from 'tap';
import { systemClock } from '../../../../../src/core/time.ts';
import { createRedactor } from '../../../../../src/run/config/redact.ts';
import { createLog } from '../../../../../src/run/telemetry/log.ts';
import { serializeError } from '../../../../../src/run/telemetry/log/serialized-error.ts';

/** What the log says of this under `err`. */
function logged(err: unknown): unknown {
  const lines: string[] = [];
  createLog({
    service: 's',
    level: 'info',
    format: 'json',
    color: false,
    clock: systemClock,
    redact: createRedactor(),
    destination: { write: (line) => void lines.push(line) },
  }).warn({ err }, 'no');
  return (JSON.parse(lines[0]) as { err: unknown }).err;
}

const database = Object.assign(new DatabaseError('duplicate key', 13, 'error'), {
  code: '23505',
  constraint: 'ticks_pkey',
});
const addresses = new AggregateError([new Error('connect ECONNREFUSED ::1:6379'), new Error('no route')]);
const THROWN: Readonly<Record<string, { thrown: unknown; said: object }>> = {
  'of the database': {
    thrown: database,
    said: { type: 'error', message: 'duplicate key', code: '23505', constraint: 'ticks_pkey' },
  },
  'with a cause': {
    thrown: new TypeError('outer', { cause: new Error('inner') }),
    said: { type: 'TypeError', message: 'outer', cause: 'inner' },
  },
  'of several addresses': {
    thrown: addresses,
    said: { type: 'AggregateError', message: 'connect ECONNREFUSED ::1:6379; no route' },
  },
  'caused by several addresses': {
    thrown: new Error('outer', { cause: addresses }),
    said: { type: 'Error', message: 'outer', cause: 'connect ECONNREFUSED ::1:6379; no route' },
  },
  'that is no Error': {
    thrown: { details: 'why', code: 14 },
    said: { type: 'object', message: "{ details: 'why', code: 14 }" },
  },
  'that is a text': { thrown: 'why', said: { type: 'string', message: 'why' } },
};

for (const [name, { thrown, said }] of Object.entries(THROWN)) {
  void test(`an error ${name} says the same here and from another thread`, async (t) => {
    t.strictSame(logged(thrown), said);
    t.strictSame(logged(structuredClone(serializeError(thrown))), said);
    t.notMatch(JSON.stringify(logged(thrown)), 'object Object');
  });
}
