import { test } from 'tap';
import { failureCases } from './failure-cases.ts';
import { followCases } from './follow-cases.ts';
import { groupCases } from './group-cases.ts';
import type { StartBusServer } from './bus-server.ts';
import { inboxCases } from './inbox-cases.ts';
import { partitionCases } from './partition-cases.ts';
import { BusHarness, type BusCase } from './harness.ts';
import { shapeCases } from './shape-cases.ts';
import { trimCases } from './trim-cases.ts';

const all: BusCase[] = [
  ...shapeCases,
  ...groupCases,
  ...partitionCases,
  ...followCases,
  ...inboxCases,
  ...trimCases,
  ...failureCases,
];
/** BUS_CASE='crash|frozen' runs those whose name matches */
const only = new RegExp(process.env['BUS_CASE'] ?? '');
const cases = all.filter(({ name }) => only.test(name));

/** Holds one implementation of the stream bus to what src/bus/bus.ts promises, on a real server. */
export async function conformance(start: StartBusServer): Promise<void> {
  const server = await start();
  if ('skip' in server) {
    await test('stream bus', { skip: server.skip }, async () => {});
    return;
  }
  let passed = 0;
  const except = new Map(Object.entries(server.except ?? {}));
  for (const name of except.keys()) {
    if (!all.some((each) => each.name === name)) throw new Error(`no case is called ${name}`);
  }
  for (const { name, run } of cases) {
    const reason = except.get(name);
    await test(`${server.kind}: ${name}`, { skip: reason ?? false }, async (t) => {
      const harness = new BusHarness(server);
      t.teardown(() => harness.close());
      await run(t, harness);
      if (t.passing()) passed += 1;
    });
  }
  await test(`${server.kind}: the server ends`, async (t) => {
    await server.stop();
    t.comment(`conformance of ${server.kind}: ${passed} of ${cases.length} cases, ${except.size} excepted`);
  });
}
