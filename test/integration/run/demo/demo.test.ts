import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { test } from 'tap';

const program = fileURLToPath(new URL('../../../../dist/run/demo/demo.js', import.meta.url));

void test('the demo runs by itself, and what is stored is what was sent', async (t) => {
  const demo = spawn(process.execPath, [program], {
    env: { PATH: process.env['PATH'], DEMO_SECONDS: '4' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [said, errors] = ['', ''];
  demo.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
  demo.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
  const [code] = await once(demo, 'close');
  t.equal(code, 0, said + errors);
  t.match(said, /^ +\d s {2}ready .* ticks\/s {2}watermark \d+ .* market /m, 'a line a second');
  for (const [name, verdict] of [
    ['ticks stored', 'sent'],
    ['in tick_data', 'published'],
    ['in tick_data', 'orders'],
    ['ticks in bars', 'published \\+ orders'],
  ]) {
    const [, count = '0'] = new RegExp(`^  ${name} +(\\d+) {3}= ${verdict}$`, 'm').exec(said) ?? [];
    t.ok(Number(count) > 0, `${name}: ${count} = ${verdict}`);
  }
});
