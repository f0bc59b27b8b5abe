import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { promisify } from 'node:util';
import { fileURLToPath } from 'node:url';
import { test } from 'tap';

const MODULE = fileURLToPath(new URL('../../../../src/run/stages/member-name.ts', import.meta.url));
const program = (base: string, url: string, then: string): string =>
  `import { claimMemberName } from ${JSON.stringify(MODULE)};
   console.log(await claimMemberName(${JSON.stringify(base)}, ${JSON.stringify(url)})); ${then}`;

const nodeArgs = (code: string): string[] => ['--input-type=module', '-e', code];
const nameOf = async (child: ReturnType<typeof spawn>): Promise<string> =>
  String(((await once(child.stdout!, 'data')) as [Buffer])[0]).trim();

const passing = async (name: string, database: string): Promise<string> =>
  (await promisify(execFile)(process.execPath, nodeArgs(program(name, database, '')))).stdout.trim();

void test(
  'a name is unique on this machine, and the next process has it when its predecessor is gone',
  { skip: process.platform === 'linux' ? false : 'names are held by sockets of Linux' },
  async (t) => {
    const base = `ticks@here-${process.pid}`;
    const url = 'postgres://u:p@h/d';
    const living = (): ReturnType<typeof spawn> =>
      spawn(process.execPath, nodeArgs(program(base, url, 'setInterval(() => {}, 1000);')), {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
    const first = living();
    t.equal(await nameOf(first), base);
    const second = living();
    t.equal(await nameOf(second), `${base}#2`);
    t.equal(await passing(base, url), `${base}#3`, 'it does not keep its process alive');
    t.equal(await passing(base, 'postgres://u:p@h/other'), base, 'another database has other groups');
    t.equal(await passing(`${base}-bars`, url), `${base}-bars`);

    first.kill('SIGKILL');
    await once(first, 'close');
    t.equal(await passing(base, url), base);
    second.kill('SIGKILL');
    await once(second, 'close');
  },
);
