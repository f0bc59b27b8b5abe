import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { test } from 'tap';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

function run(...args: string[]): { code: number | null; out: string; err: string } {
  const ended = spawnSync(process.execPath, ['scripts/test.ts', ...args], { cwd: ROOT, encoding: 'utf8' });
  return { code: ended.status, out: ended.stdout, err: ended.stderr };
}

void test('without an argument, or with an unknown option, nothing runs', async (t) => {
  for (const args of [[], ['--help'], ['--al', 'test/unit']]) {
    t.match(run(...args), { code: 2, out: '', err: /^usage: .* PATH…[^]* --all / }, args.join(' '));
  }
});

void test('paths win over --all, which npm test -- PATH has as well', async (t) => {
  const { code, out } = run('--all', 'test/unit/core/chain/u64.test.ts');
  t.equal(code, 0);
  t.match(out, /^1 passed, 0 failed, 0 skipped$/m);
});
