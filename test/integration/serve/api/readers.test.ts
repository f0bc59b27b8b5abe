import { readFile } from 'node:fs/promises';
import { test, type Test } from 'tap';
import { connect, parseDatabaseUrl } from '../../../../src/store/postgres/connect.ts';
import { migrate } from '../../../../src/store/schema/migrate.ts';
import { serveQueries } from '../../../support/api/query-server.ts';
import { noReaders, runPython } from '../../../support/python.ts';
import { sharedPostgres } from '../../../support/servers/postgres.ts';

const DOCS = new URL('../../../../docs/api.md', import.meta.url);
const SHOWN = 'http://127.0.0.1:8083';

/** Of each variable of the page's example: the rows as [µs, price, size, bid, side, seq, symbol], null for what there is not. */
const TELL = `
import math
def micros(value):
    if isinstance(value, str): value = pandas.Timestamp(value)
    value = pandas.Timestamp(value)
    value = value.tz_localize("UTC") if value.tz is None else value.tz_convert("UTC")
    return value.as_unit("ns").value // 1000
def number(value): return None if value is None or value is pandas.NA or (isinstance(value, float) and math.isnan(value)) else float(value)
def row(r): return [micros(r["ts"]), number(r["price"]), number(r["size"]), number(r["bid"]), number(r["side"]), str(int(r["seq"])), r["symbol"]]
def rows(table):
    if isinstance(table, list): return table
    if isinstance(table, pandas.DataFrame): return table.to_dict("records")
    if isinstance(table, polars.DataFrame): return table.to_dicts()
    if isinstance(table, pyarrow.Table): return table.to_pylist()
    return [dict(zip(table.columns, each)) for each in table.fetchall()]
tables = {name: value for name, value in list(globals().items()) if name.split("_")[0] in ("arrow", "csv", "ndjson", "json") and "_" in name}
print(json.dumps({name: [row(each) for each in rows(table)] for name, table in tables.items()}))
`;

async function example(t: Test): Promise<string> {
  const [, code] = /### From a program\n\n```python\n(.*?)\n```/s.exec(await readFile(DOCS, 'utf8')) ?? [];
  t.ok(code?.includes(SHOWN), 'docs/api.md has the example');
  return code ?? '';
}

void test(
  'pandas, polars, DuckDB and pyarrow read each format by the one line that docs/api.md shows',
  { skip: noReaders() },
  async (t) => {
    const server = await sharedPostgres();
    t.after(() => server.stop());
    const url = await server.createDatabase('readers', { schema: false });
    const client = await connect(parseDatabaseUrl(url), { applicationName: 'test' });
    t.after(() => client.end());
    await migrate(client);
    await client.query(`INSERT INTO tick_data (provider, symbol, ts, seq, price, size, bid, side)
    SELECT 'binance', s, timestamptz '2025-10-31 10:00:00+00' + n * interval '1000001 microseconds', 9007199254740993 + n,
           random() * 1e5, CASE WHEN n % 3 > 0 THEN random() END, CASE WHEN n % 2 > 0 THEN 0.1 + 0.2 * n END, CASE n % 3 WHEN 1 THEN 1 WHEN 2 THEN -1 END
      FROM generate_series(0, 499) n, unnest(array['BTCUSDT', 'Ä "ß, 1"']) s`);
    const { url: api } = await serveQueries(t, url);
    const code = await example(t);

    for (const symbol of ['BTCUSDT', 'Ä "ß, 1"']) {
      const { rows } = await client.query<{ row: string }>(
        `SELECT json_build_array((extract(epoch FROM ts) * 1000000)::bigint, price, size, bid, side, seq::text, symbol) AS row
         FROM tick_data WHERE symbol = $1 ORDER BY ts`,
        [symbol],
      );
      const stored = rows.map(({ row }) => row);
      t.equal(stored.length, 500);
      const script = code.replace(SHOWN, api).replace('BTCUSDT', encodeURIComponent(symbol));
      const read = JSON.parse(await runPython(`${script}\n${TELL}`)) as Record<string, unknown>;
      t.equal(Object.keys(read).length, 12);
      for (const [name, values] of Object.entries(read)) t.strictSame(values, stored, `${name} of ${symbol}`);
    }
  },
);
