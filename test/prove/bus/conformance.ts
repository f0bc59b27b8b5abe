import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { Skipped, type Figures } from '../harness.ts';
import type { BusName } from './harness.ts';

/** Must show 1: the conformance suite on a real server of this bus; how many cases it has and that all pass. */
export async function conforms(name: BusName): Promise<Figures> {
  const child = spawn('tap', ['run', '--reporter=tap', `test/conformance/${name}.test.ts`], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const sum = { passed: 0, failed: 0, skipped: [] as string[] };
  createInterface({ input: child.stdout }).on('line', (line) => {
    const test = /^ {4}(ok|not ok) \d+ - (.*)$/.exec(line);
    if (test === null) return;
    if (/# SKIP/i.test(line)) sum.skipped.push(test[2] ?? '');
    else if (test[1] === 'ok') sum.passed += 1;
    else {
      sum.failed += 1;
      process.stderr.write(`  ${line}\n`);
    }
  });
  const [code] = (await once(child, 'close')) as [number | null];
  if (sum.passed + sum.failed === 0 && sum.skipped[0] !== undefined) throw new Skipped(sum.skipped[0]);
  assert.equal(code, 0, `${sum.failed} cases failed`);
  return { cases: sum.passed, ...(sum.skipped.length > 0 ? { skipped: sum.skipped.length } : {}) };
}
