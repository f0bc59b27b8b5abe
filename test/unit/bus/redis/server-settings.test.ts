import { test } from 'tap';
import { BusError } from '../../../../src/bus/bus.ts';
import {
  describeDurability,
  evicts,
  hasWaitAof,
  refuseUnfit,
  type ServerSettings,
} from '../../../../src/bus/redis/server-settings.ts';

const settings: ServerSettings = {
  version: '7.0.15',
  appendonly: true,
  appendfsync: 'always',
  maxmemory: 0,
  policy: 'noeviction',
};

/** Kind of the error; null: not refused. */
function refusal(changed: Partial<ServerSettings>): string | null {
  try {
    refuseUnfit({ ...settings, ...changed });
    return null;
  } catch (error) {
    return error instanceof BusError ? error.kind : 'no BusError';
  }
}

void test('loss-free is only what waits for the disk', async (t) => {
  const lossFree = (changed: Partial<ServerSettings>, waits = false): boolean =>
    describeDurability({ ...settings, ...changed }, waits).lossFree;
  t.equal(lossFree({}), true);
  t.equal(lossFree({ appendfsync: 'everysec' }), false);
  t.equal(lossFree({ appendfsync: 'everysec' }, true), true, 'WAITAOF');
  t.equal(lossFree({ appendfsync: 'no' }), false);
  t.equal(lossFree({ appendonly: false }), false);
  t.equal(lossFree({ appendonly: false }, true), false);
  t.equal(lossFree({ appendonly: null, appendfsync: null }), false);
  t.equal(lossFree({ appendfsync: null }), false, 'CONFIG is forbidden');
  t.match(describeDurability({ ...settings, appendfsync: 'everysec' }, false).why, '1 s');
});

void test('evicting policies are refused where there is a limit', async (t) => {
  t.equal(evicts(1000, 'allkeys-lru'), true);
  t.equal(evicts(1000, 'allkeys-random'), true);
  t.equal(evicts(null, 'allkeys-lfu'), true, 'the limit is unknown');
  t.equal(evicts(0, 'allkeys-lru'), false);
  t.equal(evicts(1000, 'volatile-lru'), false, 'streams have no time to live');
  t.equal(evicts(1000, null), false);
  t.equal(refusal({ maxmemory: 1, policy: 'allkeys-lru' }), 'setup');
});

void test('versions', async (t) => {
  for (const version of ['6.2.0', '7.0.15', '8.2.1', '10.0.0', null]) {
    t.equal(refusal({ version }), null, `${version}`);
  }
  for (const version of ['6.0.16', '5.0.9']) {
    t.equal(refusal({ version }), 'setup', version);
  }
  t.equal(hasWaitAof({ ...settings, version: '7.2.0' }), true);
  t.equal(hasWaitAof({ ...settings, version: '8.0.0' }), true);
  t.equal(hasWaitAof({ ...settings, version: '7.0.15' }), false);
  t.equal(hasWaitAof({ ...settings, version: null }), false);
});
