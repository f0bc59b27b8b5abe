import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type Test } from 'tap';
import { runCommand } from '../../../../support/run/command.ts';

async function configOf(t: Test, text: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'tick-micro-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const path = join(folder, 'streaming.yaml');
  await writeFile(path, text);
  return path;
}

void test('mdp stream micro-batch --help names its options, units, defaults and an example', async (t) => {
  const { code, stdout, stderr } = await runCommand('mdp', ['stream', 'micro-batch', '--help'], {});
  t.strictSame([code, stderr], [0, '']);
  for (const part of [
    '--window <length>',
    'from 500ms, and a divisor of a minute (default:',
    '--group <name>',
    '--consumer <name>',
    '--batch-size <n>',
    '--metrics-port <port>',
    '$ mdp stream micro-batch --config configs/streaming.yaml --window 2s',
    'DATABASE_URL',
    'Exit codes:',
  ]) {
    t.ok(stdout.replaceAll(/\s+/g, ' ').includes(part), part);
  }
});

void test('a window that does not fit into a minute is refused in one line, before anything is opened', async (t) => {
  for (const window of ['7s', '0.1s', 'abc', '-2s', '120s']) {
    const { code, stdout, stderr } = await runCommand(
      'mdp',
      ['stream', 'micro-batch', `--window=${window}`],
      {
        DATABASE_URL: 'postgres://nobody@127.0.0.1:1/nothing',
      },
    );
    t.strictSame([code, stdout], [2, ''], window);
    const lines = stderr.trimEnd().split('\n');
    t.match(lines[0], /--window <length>/, stderr);
    t.ok(lines[0].includes(window), lines[0]);
    t.match(lines[0], /must be at least 0\.5 s and divide a minute|duration/i);
    t.notMatch(stderr, /\n\s+at /, 'no stack');
  }
});

void test('mdp config check names the line of a window that does not divide a minute', async (t) => {
  const bad = await configOf(t, 'version: 1\nmicro_batch:\n  late: revise\n  window_ms: 7000\n');
  const refused = await runCommand('mdp', ['config', 'check', '--config', bad], {});
  t.equal(refused.code, 1, refused.stderr);
  const said = `${refused.stdout}${refused.stderr}`;
  t.match(said, /4\b.*micro_batch\.window_ms.*must divide a minute \(60000\)/);
  const good = await configOf(
    t,
    'version: 1\nmicro_batch:\n  window_ms: 7500\n  late: dlq\n  idle_timeout: 2s\n',
  );
  t.equal((await runCommand('mdp', ['config', 'check', '--config', good], {})).code, 0);
  for (const [line, path] of [
    ['window_ms: 400', 'micro_batch.window_ms'],
    ['windows_ms: 2000', 'micro_batch'],
  ]) {
    const config = await configOf(t, `version: 1\nmicro_batch:\n  ${line}\n`);
    const { code, stdout, stderr } = await runCommand('mdp', ['config', 'check', '--config', config], {});
    t.not(code, 0, line);
    t.match(`${stdout}${stderr}`, new RegExp(`3\\b.*${path}`), line);
  }
});
