import { inspect } from 'node:util';
import { test } from 'tap';
import { BusError } from '../../../../src/bus/bus.ts';
import { isGroupMissing, replyWord, toBusError } from '../../../../src/bus/redis/errors.ts';

function reply(message: string): Error {
  return Object.assign(new Error(message), {
    name: 'ReplyError',
    command: { name: 'auth', args: ['me', 'the-password'] },
  });
}

function system(code: string): Error {
  return Object.assign(new Error(`it failed: ${code}`), { code });
}

void test('what the operator must know is decided by the code word', async (t) => {
  const kinds = {
    "OOM command not allowed when used memory > 'maxmemory'.": 'full',
    'MISCONF Errors writing to the AOF file: No space left on device': 'full',
    'LOADING Redis is loading the dataset in memory': 'unreachable',
    'READONLY You cannot write against a read only replica.': 'unreachable',
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.": 'unreachable',
    'TRYAGAIN Multiple keys request during rehashing of slot': 'unreachable',
    'NOAUTH Authentication required.': 'setup',
    'WRONGPASS invalid username-password pair or user is disabled.': 'setup',
    'NOPERM this user has no permissions': 'setup',
    'WRONGTYPE Operation against a key holding the wrong kind of value': 'setup',
    'ERR DB index is out of range': 'setup',
  };
  for (const [message, kind] of Object.entries(kinds)) {
    const error = toBusError(reply(message), 'publishing');
    t.equal(error.kind, kind, message);
    t.match(error.message, 'publishing');
  }
});

void test('connections that fail pass; certificates do not', async (t) => {
  for (const code of ['ECONNREFUSED', 'ECONNRESET', 'ETIMEDOUT', 'ENOTFOUND', 'EHOSTUNREACH', 'EPIPE']) {
    t.equal(toBusError(system(code), '').kind, 'unreachable', code);
  }
  for (const code of ['DEPTH_ZERO_SELF_SIGNED_CERT', 'CERT_HAS_EXPIRED', 'ERR_TLS_CERT_ALTNAME_INVALID']) {
    t.equal(toBusError(system(code), '').kind, 'setup', code);
  }
  t.equal(toBusError(new Error('Connection is closed.'), '').kind, 'unreachable');
  t.equal(toBusError('odd', '').kind, 'unreachable');
  const made = new BusError('refused', 'too large');
  t.equal(toBusError(made, 'publishing'), made);
});

void test('a vanished group is told from everything else', async (t) => {
  t.equal(isGroupMissing(reply("NOGROUP No such key 'mdp.events' or consumer group 'g'")), true);
  t.equal(isGroupMissing(reply('UNBLOCKED the stream key no longer exists')), true);
  t.equal(isGroupMissing(reply('OOM')), false);
  t.equal(isGroupMissing(new Error('NOGROUP')), false, 'no reply');
  t.equal(replyWord(reply('-odd')), 'ERR');
});

void test('a command, with a password or a record among its arguments, does not hang on the error', async (t) => {
  t.notMatch(inspect(toBusError(reply('WRONGPASS no'), 'opening'), { depth: 9 }), /the-password/);
});
