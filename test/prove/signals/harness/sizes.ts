export const SIGNALS_SETTINGS = { synchronous_commit: 'on', shared_buffers: '256MB', max_connections: '200' };

/** Of make test. */
export const SMALL = {
  kills: { kills: 3, partitions: 4, events: 6_000, perSecond: 15 },
  outages: { rounds: 1, events: 6_000, perSecond: 15 },
};
