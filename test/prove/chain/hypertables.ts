import assert from 'node:assert/strict';
import { openClient } from '../../support/chain/content/oracle.ts';

/** Must show 6: on TimescaleDB the tables are really hypertables, with the data in their chunks. */
export async function assertHypertables(
  url: string,
  hasData: boolean,
): Promise<{ version: string; license: string }> {
  const client = await openClient(url);
  try {
    const { rows } = await client.query<{ name: string; chunks: string }>(
      `SELECT hypertable_name AS name, num_chunks AS chunks FROM timescaledb_information.hypertables
        WHERE hypertable_schema = 'public' ORDER BY 1`,
    );
    const names = rows.map(({ name }) => name);
    for (const table of ['tick_transactions', 'ticks', 'vdf_proofs']) {
      assert.ok(names.includes(table), `${table} is no hypertable: ${names.join(', ')}`);
      if (!hasData) continue;
      assert.ok(Number(rows.find(({ name }) => name === table)!.chunks) > 0, `${table} has no chunk`);
      const parent = await client.query(`SELECT FROM ONLY ${table} LIMIT 1`);
      assert.equal(parent.rows.length, 0, `${table} holds rows outside of its chunks`);
    }
    const info = await client.query<{ version: string; license: string }>(
      `SELECT extversion AS version, current_setting('timescaledb.license') AS license FROM pg_extension WHERE extname = 'timescaledb'`,
    );
    return info.rows[0];
  } finally {
    await client.end();
  }
}
