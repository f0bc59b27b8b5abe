import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { test } from 'tap';
import { loadConfig } from '../../src/run/config/load.ts';
import { VARIABLE_KEYS, VARIABLES } from '../../src/run/config/variables.ts';
import { parseEnvFile } from '../../src/run/config/env-file.ts';

const path = fileURLToPath(new URL('../../.env.ingester.example', import.meta.url));
const example = readFileSync(path, 'utf8');
/** As an operator leaves it who wants every line: #NAME=value becomes NAME=value. */
const everyLine = example.replaceAll(/^#(?=[A-Z_]+=)/gm, '');

const ours = Object.fromEntries([...parseEnvFile(example).values].map(([name, { value }]) => [name, value]));

/** Name and value of a line by its first =. */
const split = (line: string) => line.split(/=(.*)/s).slice(0, 2) as [string, string];

void test('every variable is named once, in one line of its own', async (t) => {
  const names = [...everyLine.matchAll(/^([A-Z_]+)=/gm)].map((match) => match[1]);
  t.strictSame(names.toSorted(), VARIABLE_KEYS.map((key) => VARIABLES[key].name).sort());
  t.equal(parseEnvFile(everyLine).values.size, names.length);
});

void test('what it sets, and what it shows as default, are the defaults', async (t) => {
  const values = parseEnvFile(everyLine).values;
  for (const key of VARIABLE_KEYS) {
    const { name, initial, parser } = VARIABLES[key];
    const written = values.get(name)?.value ?? '';
    t.doesNotThrow(() => parser.parse(written, '/'), `${name}=${written}`);
    if (initial !== null) t.equal(written, initial, name);
  }
  const fromExample = loadConfig({ env: {}, cwd: '/srv', readFile: () => example });
  const required = { CONTINUUM_GRPC_URL: 'localhost:50051', DATABASE_URL: values.get('DATABASE_URL')?.value };
  const fromNothing = loadConfig({ env: required, cwd: '/srv' });
  t.strictSame({ ...fromExample, envFile: null }, fromNothing);
  t.strictSame(fromExample.warnings, []);
});

// The rules of each reader agree on lines of this form: no quotes to remove or keep, nothing to expand, no blank that
// one trims and another does not.
void test('each line is of the form that all readers take alike', async (t) => {
  for (const line of everyLine.split('\n')) {
    if (line === '' || /^#( |$)/.test(line)) continue;
    t.match(line, /^[A-Z][A-Z0-9_]*=[A-Za-z0-9_.,:/@%=?-]+$/, line);
  }
});

void test('a shell that sources it has the same values', async (t) => {
  const script = `set -a; . '${path}'; exec env -0`;
  for (const shell of ['sh', 'bash']) {
    const { stdout, status, error } = spawnSync(shell, ['-c', script], { encoding: 'utf8', env: {} });
    if (error !== undefined) {
      t.pass(`${shell} is absent`);
      continue;
    }
    t.equal(status, 0);
    const all = Object.fromEntries(stdout.split('\0').map(split));
    const sourced = Object.fromEntries(Object.keys(ours).map((name) => [name, all[name]]));
    t.strictSame(sourced, ours, shell);
  }
});

void test("systemd's and docker's rules give the same values", async (t) => {
  const lines = example.split('\n').filter((line) => line.trim() !== '');
  // docker: a line that begins with # is a comment, all behind the first = is the value, quotes and blanks included
  const docker = lines.filter((line) => !line.trimStart().startsWith('#')).map(split);
  t.strictSame(Object.fromEntries(docker), ours);
  // systemd: # and ; begin comments, quotes are removed, a backslash escapes, blanks around a value go
  const systemd = lines
    .filter((line) => !/^\s*[#;]/.test(line))
    .map(split)
    .map(([name, value]) => [
      name,
      value
        .trim()
        .replace(/^(["'])(.*)\1$/, '$2')
        .replaceAll(/\\(.)/g, '$1'),
    ]);
  t.strictSame(Object.fromEntries(systemd), ours);
});
