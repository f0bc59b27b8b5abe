/** How many files run side by side. They share two cores, whatever the machine has more. */
const CAPACITY = 6;

/** What a group of files does most of its time decides how many of them run at once. */
interface Group {
  readonly name: string;
  readonly files: RegExp;
  /** what one file takes of CAPACITY */
  readonly weight: number;
}

/** The first that matches; in the order in which they are begun, so that long ones are not the last to end. */
const GROUPS: readonly Group[] = [
  {
    name: 'waits for servers, leases and takeovers',
    files: /^test\/(conformance|fault\/(bus|bars))\//,
    weight: 2,
  },
  { name: 'a whole daemon and faults', files: /^test\/fault\//, weight: 3 },
  { name: 'real servers', files: /^test\/integration\//, weight: 2 },
  { name: 'computes', files: /^/, weight: 3 },
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
