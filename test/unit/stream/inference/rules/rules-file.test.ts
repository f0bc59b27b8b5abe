import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type Test } from 'tap';
import { RulesError } from '../../../../../src/stream/inference/rules/mistakes.ts';
import { readRules, RulesFile } from '../../../../../src/stream/inference/rules/rules-file.ts';
import { until } from '../../../../support/until.ts';

const FEATURES = ['rsi'];
const rule = (name: string, condition = 'rsi > 70'): string =>
  `- name: ${name}\n  condition: "${condition}"\n  signal: 1\n`;

async function fileOf(t: Test, text: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'rules-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const file = join(folder, 'rules.yaml');
  await writeFile(file, text);
  return file;
}

/** The rules of a file, with what they logged and counted. */
async function opened(file: string) {
  const logged: string[] = [];
  const counted: string[] = [];
  const rules = await RulesFile.open({
    file,
    features: FEATURES,
    meter: {
      count: (name, labels) => counted.push(`${name} ${Object.values(labels).join()}`),
      set: () => {},
      observe: () => {},
    },
    env: {
      log: (level, message, { err }) =>
        logged.push(`${level} ${message}${err instanceof Error ? ` ${err.message}` : ''}`),
    },
  });
  const look = async (times: number): Promise<string> => {
    for (let time = 0; time < times; time += 1) await rules.look();
    return rules.rules.rules.map(({ name }) => name).join();
  };
  return { rules, look, logged, counted };
}

void test('a file that is missing, unreadable or too large is a mistake', async (t) => {
  const file = await fileOf(t, `#${'x'.repeat(2 ** 20)}\n${rule('a')}`);
  await t.rejects(readRules(file, FEATURES), /rules\.yaml:1:1: has \d+ bytes; at most 1048576/);
  await rm(file);
  await t.rejects(
    readRules(file, FEATURES),
    new RulesError(file, [
      {
        line: 1,
        column: 1,
        rule: null,
        problem: 'cannot be read (ENOENT); inference.adapters.rules.file names the file',
      },
    ]),
  );
  await mkdir(file);
  await t.rejects(readRules(file, FEATURES), /rules\.yaml:1:1: cannot be read \(EISDIR\)/);
  await t.rejects(RulesFile.open({ file, features: FEATURES }), RulesError);
});

void test('a change is taken when two looks in a row see it', async (t) => {
  const file = await fileOf(t, rule('a') + rule('b'));
  const { look, logged, counted } = await opened(file);
  t.equal(await look(3), 'a,b');
  await writeFile(file, rule('c'));
  t.equal(await look(1), 'a,b', 'it may lack its end yet');
  await writeFile(file, rule('c') + rule('d'));
  t.equal(await look(1), 'a,b');
  t.equal(await look(1), 'c,d');
  await writeFile(`${file}.new`, rule('e'));
  await rename(`${file}.new`, file);
  t.equal(await look(2), 'e', 'another file under the name');
  t.same(logged, ['info The rules were read again', 'info The rules were read again']);
  t.same(counted, []);
});

void test('a broken file leaves the rules before it, and is told once', async (t) => {
  const file = await fileOf(t, rule('a'));
  const { look, logged, counted } = await opened(file);
  await writeFile(file, rule('b', 'rsii > 70'));
  t.equal(await look(5), 'a');
  t.equal(logged.length, 1);
  t.match(
    logged[0],
    /^error The rules file is wrong: the rules before it stay A mistake in .*:2:15: rule b: unknown variable rsii; known are price, rsi$/s,
  );
  t.same(counted, ['errors_total inference,rules_file']);
  await rm(file);
  t.equal(await look(5), 'a');
  t.match(logged.slice(1), [/cannot be read \(ENOENT\)/]);
  t.equal(counted.length, 2);
  await writeFile(file, rule('a'));
  t.equal(await look(2), 'a');
  await writeFile(file, rule('b'));
  t.equal(await look(2), 'b');
  t.same(logged.slice(2), ['info The rules were read again', 'info The rules were read again']);
});

void test('watch looks by itself until it is stopped', async (t) => {
  const file = await fileOf(t, rule('a'));
  const { rules } = await opened(file);
  const stopping = new AbortController();
  const watching = rules.watch(stopping.signal);
  await writeFile(file, rule('b'));
  try {
    await until('the rules of the file', () => rules.rules.rules[0].name === 'b');
  } finally {
    stopping.abort();
  }
  await watching;
});
