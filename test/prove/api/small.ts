/** What the tests run of make prove-api. */
export const SMALL = {
  conformance: { examples: 5, isStateful: false },
  answered: { answers: 4, ticks: 10 },
  flushers: { kills: 3, ticksPerRequest: 10 },
  outages: { rounds: 2, requestsPerRound: 20, ticksPerRequest: 10 },
  speed: { ticks: 20_000, seconds: 1, connections: 8 },
  security: { rounds: 1, slowClients: 20 },
} as const;
