/** What the tests run of make prove-api. */
export const SMALL = {
  conformance: { examples: 5, isStateful: false },
  security: { rounds: 1, slowClients: 20 },
} as const;
