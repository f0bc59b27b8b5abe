/**
 * When events are due. Event time runs beside the monotonic clock: at `anchorMs` it was `anchorUs`, and it runs `speed` times as
 * fast. At speed 0 everything is due. Events that are late are emitted at once, so that a run ends when it should.
 */
export interface Pace {
  /** monotonic, ms */
  readonly anchorMs: number;
  /** event time, µs since 1970 */
  readonly anchorUs: number;
  readonly speed: number;
}

/** Up to where event time has come; Infinity at speed 0. */
export function reachedUs({ anchorMs, anchorUs, speed }: Pace, nowMs: number): number {
  return speed === 0 ? Infinity : anchorUs + (nowMs - anchorMs) * 1000 * speed;
}

/** When an event is due, monotonic ms; −Infinity at speed 0. */
export function dueMs({ anchorMs, anchorUs, speed }: Pace, eventUs: number): number {
  return speed === 0 ? -Infinity : anchorMs + (eventUs - anchorUs) / 1000 / speed;
}

/** How long it is until an event is due, ms; 0: it is. */
export function waitMs(pace: Pace, eventUs: number, nowMs: number): number {
  return Math.max(0, dueMs(pace, eventUs) - nowMs);
}

/**
 * From now on at another speed: event time goes on from where it is.
 * @param emittedUs time of the last event; at speed 0 event time is there
 */
export function withSpeed(pace: Pace, speed: number, nowMs: number, emittedUs: number): Pace {
  const anchorUs = pace.speed === 0 ? emittedUs : reachedUs(pace, nowMs);
  return { anchorMs: nowMs, anchorUs, speed };
}

/** How far what is emitted lags behind when it was due, ms; 0 at speed 0, and while nothing is late. */
export function lagMs(pace: Pace, nextUs: number | null, nowMs: number): number {
  return nextUs === null || pace.speed === 0 ? 0 : Math.max(0, nowMs - dueMs(pace, nextUs));
}
