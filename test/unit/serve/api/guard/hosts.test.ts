import { test } from 'tap';
import { AllowedHosts } from '../../../../../src/serve/api/guard/hosts.ts';

void test('by default: the address and the names of this machine, with any port', async (t) => {
  const hosts = new AllowedHosts('192.0.2.7', null);
  for (const host of [
    'localhost',
    'localhost:8083',
    'LOCALHOST:9',
    'localhost.',
    'a.localhost',
    '127.0.0.1:8083',
    '127.8.9.10',
    '[::1]:8083',
    '192.0.2.7',
    '192.0.2.7:80',
  ])
    t.ok(hosts.allows(host, undefined), host);
  for (const host of [
    'evil.example',
    'localhost.evil.example',
    'evil-localhost',
    'localhost@evil.example',
    'localhost:8083@evil.example',
    'localhost/',
    'localhost#',
    'localhost\\evil',
    'local host',
    '127.0.0.1.evil.example',
    '192.0.2.8',
    '[::2]',
    '0.0.0.0',
    '',
    ':8083',
    'localhost:99999',
    'localhost:http',
    'evil.example:80:80',
  ])
    t.notOk(hosts.allows(host, undefined), host);
});

void test('an address as a number is answered where the connection came to it', async (t) => {
  const hosts = new AllowedHosts('0.0.0.0', null);
  t.ok(hosts.allows('198.51.100.4:8083', '198.51.100.4'));
  t.ok(hosts.allows('198.51.100.4:8083', '::ffff:198.51.100.4'));
  t.ok(hosts.allows('[2001:db8::5]:8083', '2001:db8:0:0::5'));
  t.notOk(hosts.allows('198.51.100.5', '198.51.100.4'));
  t.notOk(hosts.allows('0.0.0.0', '198.51.100.4'), 'the address of all is nobody');
});

void test('a given list takes the place of the default', async (t) => {
  const hosts = new AllowedHosts('127.0.0.1', ['api.example', 'other.example:8443', '::1']);
  for (const host of ['api.example', 'API.example:1', 'api.example.', 'other.example:8443', '[::1]:3'])
    t.ok(hosts.allows(host, '127.0.0.1'), host);
  t.ok(hosts.allows('127.0.0.1', '127.0.0.1'), 'the number of the connection stays');
  for (const host of ['localhost', 'other.example', 'other.example:8444', 'sub.api.example'])
    t.notOk(hosts.allows(host, '127.0.0.1'), host);
});

void test('pages of this server, and of hosts that the operator named, may change something', async (t) => {
  const own = new AllowedHosts('127.0.0.1', null);
  t.ok(own.allowsOrigin('http://localhost:8083', 'localhost:8083'));
  t.ok(own.allowsOrigin('https://[::1]:8083', '[::1]:8083'));
  for (const origin of [
    'null',
    '',
    'http://localhost:3000',
    'http://localhost',
    'http://127.0.0.1:8083',
    'http://evil.example',
    'http://localhost:8083.evil.example',
    'file:///tmp/x.html',
    'chrome-extension://abc',
    'javascript:alert(1)',
  ])
    t.notOk(own.allowsOrigin(origin, 'localhost:8083'), origin);
  const behindProxy = new AllowedHosts('127.0.0.1', ['api.example', 'app.example:8443']);
  t.ok(behindProxy.allowsOrigin('https://api.example', 'api.example'));
  t.ok(behindProxy.allowsOrigin('https://app.example:8443', 'api.example'));
  t.notOk(behindProxy.allowsOrigin('https://app.example', 'api.example'));
});
