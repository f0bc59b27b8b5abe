import fc from 'fast-check';
import { test } from 'tap';
import { decodeDeadLetter } from '../../../../src/core/market/dead-letter.ts';
import {
  decodeResolution,
  encodeResolution,
  type Resolution,
} from '../../../../src/core/market/resolution.ts';

const resolution: Resolution = {
  by: 'retried',
  at: 1_755_945_303_178_360n,
  deadLetters: [
    { id: 'mdp.events|1-1', rawSha256: 'ab'.repeat(32), msgId: '1755945303178-0' },
    { id: 'mdp.events:3|17', rawSha256: 'cd'.repeat(32), msgId: null },
  ],
};

void test('what is resolved comes back as it was written, and is no dead letter', (t) => {
  t.strictSame(decodeResolution(encodeResolution(resolution)), resolution);
  t.equal(decodeDeadLetter(encodeResolution(resolution)), null);
  t.end();
});

void test('anything else on the topic is no resolution', (t) => {
  const whole = JSON.parse(Buffer.from(encodeResolution(resolution)).toString()) as Record<string, unknown>;
  for (const change of [
    { ver: 2 },
    { kind: 'letter' },
    { by: 'deleted' },
    { at: 'yesterday' },
    { at: 7 },
    { dead_letters: {} },
    { dead_letters: [null] },
    { dead_letters: [{ event_id: 'x' }] },
  ]) {
    t.equal(
      decodeResolution(Buffer.from(JSON.stringify({ ...whole, ...change }))),
      null,
      JSON.stringify(change),
    );
  }
  fc.assert(fc.property(fc.uint8Array({ maxLength: 50 }), (bytes) => decodeResolution(bytes) === null));
  fc.assert(fc.property(fc.json(), (text) => decodeResolution(Buffer.from(text)) === null));
  t.end();
});
