import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { test } from 'tap';

const unit = readFileSync(new URL('../../systemd/tick-ingester.service', import.meta.url), 'utf8');
const noSystemd =
  spawnSync('systemd-analyze', ['--version']).status === 0 ? false : 'systemd-analyze is absent';
/** systemd's own measure from 0 (tight) to 10; what stays open is the network, child processes and V8's compiler. */
const EXPOSURE_MAX = 2.5;

function settings(section: string): Map<string, string[]> {
  const found = new Map<string, string[]>();
  let current = '';
  for (const line of unit.split('\n')) {
    const header = /^\[(.+)\]$/.exec(line);
    if (header !== null) current = header[1];
    const setting = /^([A-Za-z]+)=(.*)$/.exec(line);
    if (setting === null || current !== section) continue;
    found.set(setting[1], [...(found.get(setting[1]) ?? []), setting[2]]);
  }
  return found;
}

void test('the unit says what the seed and the specification ask for', async (t) => {
  const service = settings('Service');
  const expected: Record<string, string> = {
    User: 'fermi',
    WorkingDirectory: '/opt/fermi',
    EnvironmentFile: '/opt/fermi/.env.ingester',
    ExecStart: '/opt/fermi/bin/tick-ingester',
    Restart: 'always',
    RestartSec: '10',
    RestartPreventExitStatus: '2',
    StandardOutput: 'journal',
    StandardError: 'journal',
    Type: 'notify',
    NotifyAccess: 'all',
    WatchdogSec: '60',
  };
  for (const [name, value] of Object.entries(expected)) t.strictSame(service.get(name), [value], name);
  t.ok(Number(service.get('TimeoutStopSec')) > 30, 'stops later than the drain ends');
  t.notOk(service.has('MemoryDenyWriteExecute'), 'V8 could not compile');
  t.strictSame(settings('Unit').get('StartLimitIntervalSec'), ['0']);
  t.match(settings('Unit').get('After'), [/network-online\.target/]);
  t.match(settings('Unit').get('Wants'), [/network-online\.target/]);
  t.strictSame(settings('Install').get('WantedBy'), ['multi-user.target']);
});

void test('systemd accepts it and finds it tight', { skip: noSystemd }, async (t) => {
  const copy = join(t.testdir(), 'tick-ingester.service');
  // verify wants a program and a user that exist on this machine
  const here = unit
    .replace(/^ExecStart=.*$/m, 'ExecStart=/bin/true')
    .replace(/^User=.*$/m, `User=${userInfo().username}`);
  writeFileSync(copy, here);
  const verify = spawnSync('systemd-analyze', ['verify', '--man=no', copy], { encoding: 'utf8' });
  t.equal(verify.status, 0, verify.stderr);
  t.notMatch(verify.stderr, /tick-ingester\.service/, 'no complaint about any line');
  writeFileSync(copy, unit);
  const limit = String(EXPOSURE_MAX * 10);
  const security = spawnSync(
    'systemd-analyze',
    ['security', '--offline=true', '--no-pager', `--threshold=${limit}`, copy],
    {
      encoding: 'utf8',
    },
  );
  t.equal(security.status, 0, security.stdout.trim().split('\n').at(-1) ?? '');
});
