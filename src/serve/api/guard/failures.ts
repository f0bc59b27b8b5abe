import { isIPv6 } from 'node:net';
import type { Clock } from '../../../core/time.ts';

const WINDOW_MS = 60_000;
/** Addresses remembered at once; beyond that the oldest are forgotten. */
const ADDRESSES_MAX = 10_000;

interface Count {
  failures: number;
  untilMs: number;
}

/** Counts wrong credentials by address, so that nobody tries many: a minute long at most, then anew. */
export class FailedCredentials {
  readonly #perMinuteMax: number;
  readonly #clock: Clock;
  readonly #counts = new Map<string, Count>();

  /** @param perMinuteMax 0: no limit */
  constructor(perMinuteMax: number, clock: Clock) {
    this.#perMinuteMax = perMinuteMax;
    this.#clock = clock;
  }

  /** Seconds until this address may try again; 0: now. */
  waitSeconds(address: string): number {
    const count = this.#counts.get(networkOf(address));
    const leftMs = (count?.untilMs ?? 0) - this.#clock.monotonicMs();
    if (count === undefined || leftMs <= 0 || this.#perMinuteMax === 0) return 0;
    return count.failures < this.#perMinuteMax ? 0 : Math.ceil(leftMs / 1000);
  }

  add(address: string): void {
    const key = networkOf(address);
    const nowMs = this.#clock.monotonicMs();
    const known = this.#counts.get(key);
    if (known !== undefined && known.untilMs > nowMs) {
      known.failures += 1;
      return;
    }
    this.#counts.delete(key);
    if (this.#counts.size >= ADDRESSES_MAX) this.#counts.delete(this.#counts.keys().next().value as string);
    this.#counts.set(key, { failures: 1, untilMs: nowMs + WINDOW_MS });
  }
}

/** What one client has: an IPv4 address, or the /64 of an IPv6 one. */
export function networkOf(address: string): string {
  const bare = address.replace(/%.*$/, '');
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(bare)?.[1];
  if (mapped !== undefined) return mapped;
  if (!isIPv6(bare)) return bare;
  const [head = '', tail] = bare.toLowerCase().split('::');
  const groups = head === '' ? [] : head.split(':');
  if (tail !== undefined) {
    const behind = tail === '' ? [] : tail.split(':');
    while (groups.length + behind.length < 8) groups.push('0');
  }
  return `${groups
    .slice(0, 4)
    .map((group) => group.replace(/^0+(?=.)/, ''))
    .join(':')}::/64`;
}
