import { test } from 'tap';
import { formatFor } from '../../../../src/serve/api/media.ts';

void test('the format is the one that Accept likes best', (t) => {
  const cases: [string | undefined, string][] = [
    [undefined, 'json'],
    ['', 'json'],
    ['*/*', 'json'],
    ['text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8', 'json'],
    ['text/csv', 'csv'],
    ['TEXT/CSV; header=present', 'csv'],
    ['text/*', 'csv'],
    ['application/x-ndjson', 'ndjson'],
    ['application/jsonl', 'ndjson'],
    ['application/vnd.apache.arrow.stream', 'arrow'],
    ['application/json;q=0.5, text/csv;q=0.6', 'csv'],
    ['application/json, text/csv', 'json'],
    ['application/*;q=0.1, application/vnd.apache.arrow.stream', 'arrow'],
    ['application/json;q=0, */*;q=0.1', 'csv'],
    ['text/csv;q=0, */*', 'json'],
  ];
  for (const [accept, expected] of cases) t.equal(formatFor(undefined, accept), expected, String(accept));
  t.end();
});

void test('the query wins over Accept', (t) => {
  t.equal(formatFor('arrow', 'text/csv'), 'arrow');
  t.end();
});

void test('what nobody offers is not acceptable', (t) => {
  for (const accept of ['text/html', 'application/json;q=0', 'image/*', 'text/csv;q=2', 'text/csv;q=x'])
    t.throws(() => formatFor(undefined, accept), { code: 'not_acceptable' });
  t.throws(() => formatFor('csv', undefined, ['json']), { code: 'not_acceptable' });
  t.throws(() => formatFor(undefined, 'text/csv', ['json']), { code: 'not_acceptable' });
  t.end();
});
