import { test } from 'tap';
import { settingsOf } from '../../../../src/store/postgres/session-settings.ts';

void test('a setting of a URL is found where the server would find it', (t) => {
  const cases: [string | null, string | null][] = [
    [null, null],
    ['', null],
    ['-cstatement_timeout=5', null],
    ['-csearch_path=tenant', 'tenant'],
    ['-c search_path=tenant', 'tenant'],
    ['--search_path=tenant', 'tenant'],
    ['--search-path=tenant,public', 'tenant,public'],
    ['-c SEARCH_PATH=tenant', 'tenant'],
    [String.raw`-csearch_path=a,\ "b\\c"`, String.raw`a, "b\c"`],
    ['-csearch_path=a -cdatestyle=German -csearch_path=b', 'b'],
    ['-csearch_path=', ''],
    ['-c', null],
    ['-cmy.search_path=x -e', null],
  ];
  for (const [options, expected] of cases)
    t.equal(settingsOf(options).get('search_path') ?? null, expected, String(options));
  t.end();
});
