/**
 * What runs side by side adds up to this at most: the weight of a file is its share of two cores, by what files of its group
 * use. A machine that has more of them is not asked for more, so that a run is the same everywhere.
 */
const CAPACITY = 12;

interface Group {
  readonly files: RegExp;
  readonly weight: number;
}

/** The first that matches counts. They begin in this order, the long ones first, so that nothing long is left for the end. */
const GROUPS: readonly Group[] = [
  // programs on a bus: most of their time they wait for takeovers, windows and servers that come back
  { files: /^test\/(fault\/(bars|bus)|conformance)\//, weight: 3 },
  // a daemon under load while something is done to it
  { files: /^test\/fault\//, weight: 5 },
  // real servers, one thing at a time
  { files: /^test\/integration\//, weight: 4 },
  // nothing but CPU
  { files: /^/, weight: 6 },
];

export function needsServers(file: string): boolean {
  return /^test\/(conformance|fault|integration)\//.test(file);
}

/** Runs `work` on every file, as many at once as their groups allow, and resolves when all are done. */
export async function schedule(
  files: readonly string[],
  work: (file: string) => Promise<void>,
): Promise<void> {
  const waiting = files
    .map((file) => ({ file, group: GROUPS.findIndex((group) => group.files.test(file)) }))
    .sort((a, b) => a.group - b.group);
  let free = CAPACITY;
  const running = new Set<Promise<void>>();
  while (waiting.length > 0 || running.size > 0) {
    // a light file may overtake a heavy one that does not fit yet
    const at = waiting.findIndex(({ group }) => GROUPS[group].weight <= free);
    if (at === -1) {
      await Promise.race(running);
      continue;
    }
    const [{ file, group }] = waiting.splice(at, 1);
    const { weight } = GROUPS[group];
    free -= weight;
    const run: Promise<void> = work(file).finally(() => {
      free += weight;
      running.delete(run);
    });
    running.add(run);
  }
}
