import { test } from 'tap';
import { formatMicros } from '../../../../src/core/time.ts';
import { connect, parseDatabaseUrl } from '../../../../src/store/postgres/connect.ts';
import {
  isoSeconds,
  isoTime,
  microsOf,
  msOf,
  timeOf,
  wideMicrosOf,
} from '../../../../src/store/postgres/time-sql.ts';
import { testServers } from '../../../support/servers/postgres.ts';

/** µs since 1970: before it, at it, with every digit set, and the last whole µs that a double holds, in the year 2255 */
const TIMES = [-1n, 0n, 1n, 1_755_945_303_178_361n, -62_135_596_800_000_000n / 8n, 2n ** 53n - 1n];

for (const candidate of testServers()) {
  void test(`times in SQL on the ${candidate.name} server`, { skip: candidate.skip }, async (t) => {
    const server = await candidate.open();
    t.teardown(() => server.close());
    const url = await server.createDatabase({ schema: false });
    const client = await connect(parseDatabaseUrl(url), { applicationName: 'test' });
    t.teardown(() => client.end());
    const one = async (sql: string, values: unknown[] = []): Promise<unknown> => {
      const { rows } = await client.query<{ it: unknown }>(`SELECT ${sql} AS it`, values);
      return rows[0].it;
    };

    for (const micros of TIMES) {
      const time = timeOf('$1');
      t.equal(await one(microsOf(time), [`${micros}`]), `${micros}`);
      t.equal(await one(wideMicrosOf(time), [`${micros}`]), `${micros}`);
      t.equal(await one(isoTime(time), [`${micros}`]), formatMicros(micros));
    }
    t.equal(await one(microsOf(timeOf('$1')), [null]), null);
    t.equal(await one(isoSeconds(timeOf('$1')), ['1755945303999999']), '2025-08-23T10:35:03Z');
    t.equal(await one(isoTime("timestamptz '2025-08-23 12:35:03.5+02'")), '2025-08-23T10:35:03.500000Z');
    t.equal(await one(msOf("interval '1.5 seconds'")), 1500);
    const latest = "timestamptz '294276-12-31 23:59:59.999999+00'";
    t.equal(await one(wideMicrosOf(latest)), '9224318015999999999');
    await t.rejects(one(microsOf(latest)), { code: '22003' });
  });
}
