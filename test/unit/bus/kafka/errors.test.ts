import {
  AuthenticationError,
  MultipleErrors,
  NetworkError,
  ProtocolError,
  ResponseError,
  TimeoutError,
  UserError,
} from '@platformatic/kafka';
import { test } from 'tap';
import { BusError } from '../../../../src/bus/bus.ts';
import { busError, hasCode, isWrongAccess, KafkaCode, kindOf } from '../../../../src/bus/kafka/errors.ts';

const PRODUCE = 0;
const answered = (code: number): Error => new ResponseError(PRODUCE, 11, { '/x': [code, null] }, {});

await test('the kind goes by the code that a broker answered with, however deep it lies', async (t) => {
  const kinds: [number, string][] = [
    [5, 'unreachable'], [7, 'unreachable'], [19, 'unreachable'], [-1, 'unreachable'],
    [10, 'refused'], [18, 'refused'], [87, 'refused'],
    [56, 'full'], [89, 'full'],
    [29, 'setup'], [30, 'setup'], [38, 'setup'], [58, 'setup'],
  ]; // prettier-ignore
  for (const [code, kind] of kinds) {
    t.equal(kindOf(answered(code)), kind, `code ${code}`);
    t.equal(
      kindOf(new MultipleErrors('wrapped', [new Error('x'), answered(code)])),
      kind,
      `code ${code}, wrapped`,
    );
    t.equal(kindOf(new NetworkError('caused', { cause: answered(code) })), kind, `code ${code}, as a cause`);
  }
});

await test('what the client or the socket failed of', async (t) => {
  t.equal(kindOf(new NetworkError('Connection closed')), 'unreachable');
  t.equal(kindOf(new TimeoutError('Request timed out')), 'unreachable');
  t.equal(kindOf(Object.assign(new Error('refused'), { code: 'ECONNREFUSED' })), 'unreachable');
  t.equal(kindOf(Object.assign(new Error('no such host'), { code: 'ENOTFOUND' })), 'unreachable');
  t.equal(kindOf(new TypeError('a fault of the client')), 'unreachable');
  t.equal(kindOf('not even an error'), 'unreachable');
  t.equal(kindOf(new NetworkError('x', { cause: new AuthenticationError('SASL') })), 'setup');
  for (const code of ['DEPTH_ZERO_SELF_SIGNED_CERT', 'CERT_HAS_EXPIRED', 'ERR_TLS_CERT_ALTNAME_INVALID']) {
    t.equal(
      kindOf(new NetworkError('x', { cause: Object.assign(new Error('tls'), { code }) })),
      'setup',
      code,
    );
  }
});

await test('a broker that wants TLS and a topic that is not there have one code: only the first request tells', async (t) => {
  const error = new UserError('Unknown topic x.');
  t.equal(kindOf(error), 'unreachable');
  t.ok(isWrongAccess(error));
  t.notOk(isWrongAccess(new NetworkError('Connection closed')));
});

await test('a BusError stays itself; others say what was done and what the innermost error says', async (t) => {
  const refused = new BusError('refused', 'too large');
  t.equal(busError(refused, 'publishing'), refused);
  t.equal(kindOf(refused), 'refused');
  const inner = new ProtocolError('NOT_LEADER_OR_FOLLOWER');
  const made = busError(new MultipleErrors('Producing messages failed.', [inner]), 'publishing to t');
  t.match(made, {
    kind: 'unreachable',
    message: /^publishing to t: For requests intended only for the leader/,
  });
  t.ok(hasCode(made, 6), 'the code can still be asked for');
  t.notOk(hasCode(made, KafkaCode.messageTooLarge));
});
