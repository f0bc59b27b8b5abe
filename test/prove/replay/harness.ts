import { ReplayHarness } from '../../support/replay/harness.ts';
import { START, type BusName } from '../bus/harness.ts';
import { Skipped, type Figures, type ScenarioContext } from '../harness.ts';

/** A bus, a database and replayers in processes of their own. @throws Skipped when the bus cannot be had on this machine */
export async function withReplays(
  bus: BusName,
  context: ScenarioContext,
  work: (harness: ReplayHarness) => Promise<Figures>,
): Promise<Figures> {
  const server = await START[bus]();
  if ('skip' in server) throw new Skipped(server.skip);
  let harness: ReplayHarness | null = null;
  try {
    // the postgres bus lies in the database of the ticks, as it does in real life
    const url = bus === 'postgres' ? server.opener.address : await context.database();
    harness = await ReplayHarness.open(server, url);
    return await work(harness);
  } finally {
    await harness?.close();
    await server.stop();
  }
}

export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
}
