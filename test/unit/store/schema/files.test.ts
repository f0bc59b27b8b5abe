import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { test } from 'tap';

const folder = fileURLToPath(new URL('../../../../schema/', import.meta.url));

void test('schema files mean the same to every server and every psql', (t) => {
  const files = globSync('*.sql', { cwd: folder });
  t.ok(files.length > 0);
  for (const file of files) {
    const sql = readFileSync(folder + file, 'latin1');
    t.notMatch(sql, /[^\t\n\x20-\x7e]/, `${file} is ASCII: psql reads it in the encoding of its locale`);
    t.notMatch(sql, /\\/, `${file} has no backslash, which standard_conforming_strings decides about`);
  }
  t.end();
});
