import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type Test } from 'tap';
import { apiSecrets, openness, readApiSettings, type ApiSettings } from '../../../../src/run/api/settings.ts';

const TOKEN = 't'.repeat(32);
const SECRET = 's'.repeat(32);
const NAMES = [
  'API_HOST',
  'API_TOKEN',
  'ALLOWED_HOSTS',
  'WEBHOOK_HMAC_KEYS',
  'WEBHOOK_HMAC_KEYS_FILE',
  'ENV_FILE',
];

/** The settings of these variables, and of no others. */
function read(t: Test, variables: Readonly<Record<string, string>>): ApiSettings {
  const before = Object.fromEntries(NAMES.map((name) => [name, process.env[name]]));
  t.teardown(() => restore(before));
  for (const name of NAMES) delete process.env[name];
  Object.assign(process.env, variables);
  try {
    return readApiSettings();
  } finally {
    restore(before);
  }
}

function restore(before: Readonly<Record<string, string | undefined>>): void {
  for (const [name, value] of Object.entries(before))
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
}

void test('beyond loopback a token of 32 characters is needed, whatever the address is called', async (t) => {
  for (const host of ['0.0.0.0', '::', '192.0.2.1', 'api.example', '::ffff:127.0.0.1.example']) {
    t.match(openness({ host, tokens: [] }), /is missing/, host);
    t.match(openness({ host, tokens: [TOKEN.slice(1)] }), /too short/, host);
    t.match(openness({ host, tokens: [TOKEN, 'short'] }), /too short/, 'both of them');
    t.equal(openness({ host, tokens: [TOKEN] }), null, host);
  }
  for (const host of ['127.0.0.1', '127.1.2.3', '::1', 'localhost'])
    t.equal(openness({ host, tokens: [] }), null, host);
});

void test('a mistake names the variable and no secret', async (t) => {
  for (const [variables, name] of [
    [{ API_HOST: '0.0.0.0' }, 'API_TOKEN'],
    [{ API_HOST: '0.0.0.0', API_TOKEN: 'hunter2hunter2' }, 'API_TOKEN'],
    [{ API_TOKEN: 'a,b,hunter2hunter2' }, 'API_TOKEN'],
    [{ API_TOKEN: 'hunter2hunter2,' }, 'API_TOKEN'],
    [{ WEBHOOK_HMAC_KEYS: 'id:hunter2hunter2' }, 'WEBHOOK_HMAC_KEYS'],
    [{ WEBHOOK_HMAC_KEYS: `id:${SECRET}hunter2hunter2,id:${SECRET}` }, 'WEBHOOK_HMAC_KEYS'],
    [{ WEBHOOK_HMAC_KEYS_FILE: '/nowhere/keys' }, 'WEBHOOK_HMAC_KEYS_FILE'],
    [{ ALLOWED_HOSTS: 'a/b' }, 'ALLOWED_HOSTS'],
  ] as [Record<string, string>, string][])
    try {
      read(t, variables);
      t.fail(JSON.stringify(variables));
    } catch (error) {
      t.match((error as Error).message, name);
      t.notMatch((error as Error).message, /hunter2/);
    }
});

void test('two tokens while they are rotated; keys of the variable and of a file', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'keys-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'keys');
  writeFileSync(file, `# ours\n\nother:${SECRET}2\r\n  third:${SECRET}3\n`);
  const settings = read(t, {
    API_TOKEN: `${TOKEN}1,${TOKEN}2`,
    WEBHOOK_HMAC_KEYS: `feeder:${SECRET}1`,
    WEBHOOK_HMAC_KEYS_FILE: file,
  });
  t.strictSame(settings.tokens, [`${TOKEN}1`, `${TOKEN}2`]);
  t.strictSame(
    [...settings.hmacKeys],
    [
      ['feeder', `${SECRET}1`],
      ['other', `${SECRET}2`],
      ['third', `${SECRET}3`],
    ],
  );
  t.strictSame(apiSecrets(settings), [`${TOKEN}1`, `${TOKEN}2`, `${SECRET}1`, `${SECRET}2`, `${SECRET}3`]);
  writeFileSync(file, 'nonsense-hunter2\n');
  t.throws(() => read(t, { WEBHOOK_HMAC_KEYS_FILE: file }), {
    message: /WEBHOOK_HMAC_KEYS_FILE(?!.*hunter2)/s,
  });
});
