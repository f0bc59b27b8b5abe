/** How many threads and connections the daemon uses, and why. */
export interface Sizing {
  parsers: number;
  writers: number;
  /** of the writers, how many keep their connection while idle */
  keptConnections: number;
  /** for the log line at start */
  why: string;
  warnings: string[];
}

export interface SizingInput {
  cores: number;
  /** WORKER_COUNT: upper bound of each kind */
  workerCount: number;
  /** DB_MAX_CONNECTIONS, DB_MIN_CONNECTIONS */
  connectionsMax: number;
  connectionsMin: number;
  /** what the server says that we may open, and what limits it */
  limit: { connections: number; by: string };
}

/** The lease and the housekeeping have a connection each. */
const OTHER_CONNECTIONS = 2;
/** Parsers are far faster than the database; writers beyond this only wait for each other's WAL. */
const PARSERS_MAX = 4;
const WRITERS_MAX = 16;

export function planThreads(input: SizingInput): Sizing {
  const warnings: string[] = [];
  let connections = input.connectionsMax;
  const { limit } = input;
  if (connections > limit.connections) {
    warnings.push(
      `DB_MAX_CONNECTIONS=${connections} is above what the server allows (${limit.connections}, ${limit.by}); using ${limit.connections}`,
    );
    connections = limit.connections;
  }
  if (connections <= OTHER_CONNECTIONS) {
    warnings.push(
      `${connections} connections are too few: the lease, the housekeeping and a writer have one each, and further stages of this daemon their own`,
    );
  }
  const parsers = clamp(Math.floor(input.cores / 2), 1, Math.min(input.workerCount, PARSERS_MAX));
  const wanted = Math.max(2, input.cores);
  const writers = clamp(
    wanted,
    1,
    Math.min(input.workerCount, WRITERS_MAX, Math.max(1, connections - OTHER_CONNECTIONS)),
  );
  const keptConnections = clamp(input.connectionsMin - OTHER_CONNECTIONS, 0, writers);
  const why =
    `${input.cores} cores: one parser for two cores, a writer for each core (at least 2), ` +
    `at most WORKER_COUNT=${input.workerCount} of each and ${connections} connections`;
  return { parsers, writers, keptConnections, why, warnings };
}

function clamp(value: number, low: number, high: number): number {
  return Math.max(low, Math.min(value, high));
}
