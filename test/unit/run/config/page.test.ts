import { readFileSync } from 'node:fs';
import { test } from 'tap';
import { configurationPage } from '../../../../src/run/config/page.ts';
import { streamingMarkdown } from '../../../../src/run/config/streaming/meanings.ts';

const page = readFileSync(new URL('../../../../docs/configuration.md', import.meta.url), 'utf8');

void test('docs/configuration.md is as the program prints it: make docs', async (t) => {
  t.equal(page, configurationPage(page));
});

void test('a table that was changed by hand is printed anew, the text around it stays', async (t) => {
  const changed = page.replace('| `BATCH_SIZE` | `250` |', '| `BATCH_SIZE` | `251` |');
  t.not(changed, page);
  t.equal(configurationPage(changed), page);
  t.match(configurationPage(`before\n${page}after\n`), /^before\n[^]*after\n$/);
});

void test('a page without a place for the tables is refused', async (t) => {
  t.throws(() => configurationPage('# Configuration\n'), { message: /has no <!-- configuration:begin -->/ });
});

void test('each key of streaming.yaml has a row with its default as it is written', async (t) => {
  const table = streamingMarkdown();
  for (const row of [
    '| `bus.type` | `redis` |',
    '| `bus.max_bytes` | `2GiB` |',
    '| `producers.synthetic.symbols` | `SPY`, `AAPL`, `MSFT` |',
    '| `micro_batch.late` | `revise` |',
    '| `telemetry.metrics_port` | `9101` |',
  ])
    t.ok(table.includes(row), row);
  t.match(table, /\| `bus\.partitions` \| `1` \| [^|]*Allowed: a whole number from 1 to 1024\. \|/);
  t.match(table, /\| `tick_consumer\.takeover` \| `30s` \| [^|]*Allowed: a duration from 1s to 1h /);
  for (const row of table.trimEnd().split('\n')) t.equal(row.replaceAll('\\|', '').split('|').length, 5, row);
});
