import { test, type Test } from 'tap';
import { testServers, type OpenTestServer } from './postgres.ts';

/** The same tests on each Postgres server that there is. */
export function testOnServers(name: string, work: (t: Test, server: OpenTestServer) => Promise<void>): void {
  for (const server of testServers()) {
    void test(`${name} on the ${server.name} server`, { skip: server.skip }, async (t) => {
      const open = await server.open();
      t.teardown(() => open.close());
      await work(t, open);
    });
  }
}
