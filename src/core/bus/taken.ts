/** A time on the bus further than this from our clock is not believed, ms. */
const APART_MS_MAX = 86_400_000;

export function isCredible(claimedMs: number, nowMs: number): boolean {
  return Math.abs(claimedMs - nowMs) <= APART_MS_MAX; // NaN is not
}

/**
 * When the bus took a record, ms since 1970. Ids of Redis entries and timestamps of Kafka records may be set by whoever
 * writes them (`XADD mdp.events 1-1 …`, CreateTime −1, or one in seconds): such a time that lies more than a day from ours is
 * replaced by ours.
 * @param nowMs our clock, when it was read
 */
export function takenMsOf(claimedMs: number, nowMs: number): number {
  return isCredible(claimedMs, nowMs) ? claimedMs : nowMs;
}

interface Sighting {
  position: string;
  sinceMs: number;
}

/**
 * How long the oldest record that a group needs has been waiting: by the bus's time of it, and at least for as long as this
 * process has seen it be the oldest.
 */
export class OldestWaiting {
  readonly #sightings = new Map<string, Sighting>();

  /**
   * ms, not below 0
   * @param of names the group and the partition
   * @param position the oldest one that is needed; null: none is
   * @param takenMs as takenMsOf() says
   */
  ageMs(of: string, position: string | null, takenMs: number, nowMs: number): number {
    if (position === null) {
      this.#sightings.delete(of);
      return 0;
    }
    let sighting = this.#sightings.get(of);
    if (sighting?.position !== position) {
      sighting = { position, sinceMs: nowMs };
      this.#sightings.set(of, sighting);
    }
    return Math.max(0, nowMs - takenMs, nowMs - sighting.sinceMs);
  }
}
