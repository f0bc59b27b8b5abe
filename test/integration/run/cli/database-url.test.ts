import { execFile } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { test } from 'tap';

const GRPC = { CONTINUUM_GRPC_URL: '127.0.0.1:1' };

interface Outcome {
  code: unknown;
  err: string;
}

/** `line` is a program of dist/ and its arguments. It gets 5 s. */
function run(line: string, env: Record<string, string>, uid?: number): Promise<Outcome> {
  const [name, ...args] = line.split(' ');
  const program = fileURLToPath(new URL(`../../../../dist/run/${name}.js`, import.meta.url));
  const options = { cwd: tmpdir(), env: { ENV: 'production', ...env }, timeout: 5000 };
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [program, ...args],
      uid === undefined ? options : { ...options, uid, gid: uid },
      (error, out, err) =>
        resolve({ code: error?.code ?? (error === null ? 0 : error.signal), err: err || out }),
    );
  });
}

const COMMANDS = [
  'tick-ingester',
  'tick-ingester status',
  'tick-ingester skip --tick 1',
  'tick-ingester raise-floor',
  'tick-ingester verify --from 1 --to 2',
  'mdp db status',
  'mdp dlq list',
  'mdp quality --from 1 --to 2',
  'mdp bars rebuild --provider p --symbols S --from 2026-01-01 --to 2026-01-02',
  'mdp stream produce --provider synthetic',
  'mdp stream ticks',
  'mdp stream micro-batch',
  'mdp stream groups',
];

void test('a parameter that cannot be meant ends every program with 2, its name and the variable', async (t) => {
  const [bad, reason] = ['postgres://u:canary-word@127.0.0.1:1/d?sslmodus=x', /parameter sslmodus/];
  const outcomes = COMMANDS.map((command) => ({ command, outcome: null as Promise<Outcome> | null }));
  for (const [at, { command }] of outcomes.entries()) {
    // two at a time
    for (const next of outcomes.slice(at, at + 2))
      next.outcome ??= run(next.command, { ...GRPC, DATABASE_URL: bad });
    const { code, err } = await outcomes[at].outcome!;
    t.equal(code, 2, `${command}: ${err}`);
    t.match(err, reason, command);
    t.match(err, /\bDATABASE_URL\b/, command);
    t.notMatch(err, /canary/, command);
  }
  for (const command of ['tick-ingester verify --from 1 --to 2', 'mdp quality --from 1 --to 2']) {
    const { code, err } = await run(command, { ...GRPC, READ_DATABASE_URL: bad });
    t.match({ code, err }, { code: 2, err: /READ_DATABASE_URL .*parameter sslmodus/ }, command);
  }
  const other = await run('mdp db status', {
    DATABASE_URL: 'postgres://u@127.0.0.1:1/d',
    PGSSLMODE: 'maybe',
  });
  t.match(other, { code: 2, err: /DATABASE_URL .*unknown sslmode.*PGSSLMODE/ });
  t.match(
    await run('mdp --help', { DATABASE_URL: bad }),
    { code: 0 },
    'what needs no database is not kept from working',
  );
});

/** No entry in /etc/passwd, as arbitrary uids of containers have none. */
const STRANGER = 54_321;
const skip = ((): string | false => {
  if (process.getuid?.() !== 0) return 'only root can become another user';
  try {
    // others must be able to come here
    for (let folder = new URL('.', import.meta.url); folder.pathname !== '/'; folder = new URL('..', folder))
      accessSync(folder, constants.R_OK);
    return false;
  } catch {
    return 'this folder cannot be read';
  }
})();

void test(
  'without a user, a passwd entry and HOME it is said what is missing, and PGUSER is enough',
  { skip },
  async (t) => {
    const url = 'postgres://127.0.0.1:1/d';
    const nobody = await run('mdp db status', { DATABASE_URL: url }, STRANGER);
    if (/EACCES|Cannot find module/.test(nobody.err)) {
      t.comment('this folder is not open to others');
      return;
    }
    t.match(nobody, { code: 2, err: /DATABASE_URL .*names no user.*PGUSER/ });
    const verify = await run(
      'mdp db status',
      { DATABASE_URL: `${url}?user=u&sslmode=verify-full` },
      STRANGER,
    );
    t.match(verify, { code: 2, err: /DATABASE_URL .*sslmode=verify-full without sslrootcert/ });
    const named = await run('mdp db status', { DATABASE_URL: url, PGUSER: 'u' }, STRANGER);
    t.match(named, { code: 1, err: /Failed to connect to database: u@127\.0\.0\.1:1\/d \(ECONNREFUSED\)/ });
  },
);
