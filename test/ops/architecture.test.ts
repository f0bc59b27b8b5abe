import { existsSync, globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { test } from 'tap';

const root = fileURLToPath(new URL('../../', import.meta.url));
const read = (path: string): string => readFileSync(root + path, 'utf8');
const page = read('docs/architecture.md');

/** The rows `| 3 | file | function | what |` of a table under this heading. */
function walk(heading: string): { step: number; file: string; name: string }[] {
  const [, section = ''] = page.split(`## ${heading}\n`);
  const rows = section.split('\n## ')[0].matchAll(/^\| (\d+) \| `([^`]+)` \| `([^`]+)` \|/gm);
  return Array.from(rows, ([, step, file, name]) => ({ step: Number(step), file, name }));
}

for (const heading of ['One frame, from the socket to its COMMIT', 'One event, from the bus to its bar']) {
  void test(`${heading}: each file has its function`, async (t) => {
    const rows = walk(heading);
    t.ok(rows.length >= 10, `${rows.length} steps`);
    for (const [at, { step, file, name }] of rows.entries()) {
      t.equal(step, at + 1, `${file} is step ${at + 1}`);
      const declared = new RegExp(
        `(^  (get |static |async )*|function |class |const |interface )${name}\\b`,
        'm',
      );
      t.ok(existsSync(root + file) && declared.test(read(file)), `${file} ${name}`);
    }
  });
}

/** Stands for a name in what a contributor is told: src/PATH.ts, schema/NNN_name.sql, … */
const isPlaceholder = (path: string): boolean => /…|\b(PATH|NNN|GROUP)/.test(path);
/** named because it shall not be */
const UNWANTED = 'types.ts';

void test('what the papers name is there', async (t) => {
  const papers = ['README.md', 'CONTRIBUTING.md', ...globSync('docs/**/*.md', { cwd: root })];
  const names = new Set(
    globSync('{src,test,scripts}/**/*.ts', { cwd: root }).map((path) => path.split('/').at(-1)),
  );
  for (const paper of papers) {
    const text = read(paper);
    // rooms that wait for what comes are named by folder, with braces, or in the sentence about them
    const waiting = text.match(/Rooms that wait for\s[^.]*\.ts`[^.]*\./)?.[0] ?? '';
    for (const [, path] of text
      .replace(waiting, '')
      .matchAll(/`((?:src|test|scripts|schema|bench|docs)\/[^`\s*{}:]+)`/g))
      if (!isPlaceholder(path)) t.ok(existsSync(root + path), `${paper}: ${path}`);
    for (const [, name] of text.replace(waiting, '').matchAll(/`([a-z][a-z0-9.-]*\.ts)`/g))
      if (name !== UNWANTED) t.ok(names.has(name), `${paper}: ${name}`);
    for (const [, link] of text.matchAll(/\]\((?!https?:|#)([^)#]+)/g)) {
      const folder = paper.includes('/') ? paper.slice(0, paper.lastIndexOf('/') + 1) : '';
      t.ok(existsSync(root + folder + link), `${paper}: ${link}`);
    }
  }
});
