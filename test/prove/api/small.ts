/** What the tests run of make prove-api. */
export const SMALL = {
  conformance: { examples: 5, isStateful: false },
  answered: { answers: 4, ticks: 10 },
  security: { rounds: 1, slowClients: 20 },
} as const;
