/** What was acknowledged must be there, and when a bar was committed can be asked. */
export const BARS_SETTINGS = {
  synchronous_commit: 'on',
  track_commit_timestamp: 'on',
  shared_buffers: '256MB',
  max_connections: '200',
};

/** Of make test. */
export const SMALL = {
  volume: { events: 10_000, perSecond: 50 },
  kills: { kills: 3, events: 8_000, perSecond: 50, livePerSecond: 500 },
  late: { events: 6_000, perSecond: 30, late: 400 },
  contested: { events: 4_000, perSecond: 50 },
  again: { events: 6_000, perSecond: 30 },
  // other tests run beside these
  speed: { events: 40_000, perSecond: 200, eventsPerSecondMin: null as number | null },
  latency: { perSecond: 500, seconds: 15, windowsMax: null as number | null },
};
