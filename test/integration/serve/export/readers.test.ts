import { test } from 'tap';
import { SMALL_FILES } from '../../../prove/export/sizes.ts';
import { writesFiles } from '../../../prove/export/files.ts';
import { contextOf, tried } from '../../../support/harness.ts';
import { sharedPostgres } from '../../../support/servers/postgres.ts';

void test('DuckDB, pandas, polars and pyarrow read the table from an export', async (t) => {
  const server = await sharedPostgres();
  t.teardown(() => server.stop());
  const context = contextOf(t, () => server.createDatabase());
  await tried(t, () => writesFiles(context, SMALL_FILES));
});
