import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { wallMs, type Clock } from '../../../core/time.ts';
import type { Principal } from '../access.ts';

/** Secrets of senders, by the id that they sign with. */
export type SignatureKeys = ReadonlyMap<string, string>;

/** What a header says, before the body has come. */
export interface ClaimedSignature {
  readonly id: string;
  readonly time: string;
  readonly mac: Buffer;
}

/** How far the time of a signature may be from ours. */
const TOLERANCE_MS = 5 * 60_000;
const HEADER_CHARS_MAX = 256;

/**
 * `X-Signature: t=<unix seconds>,id=<key>,v1=<hex>` with v1 = HMAC-SHA256(secret, "<t>.<body>") over the bytes of the body as
 * they were sent. A request that is sent again within the five minutes adds nothing: its ticks are stored already.
 */
export class Signatures {
  readonly #keys: SignatureKeys;
  readonly #clock: Clock;
  /** in place of an unknown one's: that a key exists shows in no time */
  readonly #nobodys = randomBytes(32).toString('hex');

  constructor(keys: SignatureKeys, clock: Clock) {
    this.#keys = keys;
    this.#clock = clock;
  }

  /** What the header claims; null: it is none, or too old, or from the future. */
  read(header: string): ClaimedSignature | null {
    if (header.length > HEADER_CHARS_MAX) return null;
    const fields = new Map<string, string>();
    for (const part of header.split(',')) {
      const match = /^ *(t|id|v1)=([\w.-]+) *$/.exec(part);
      if (match === null || fields.has(match[1])) return null;
      fields.set(match[1], match[2]);
    }
    const [time = '', id = '', mac = ''] = ['t', 'id', 'v1'].map((name) => fields.get(name));
    if (!/^\d{1,12}$/.test(time) || !/^[0-9a-f]{64}$/i.test(mac) || id === '') return null;
    if (Math.abs(Number(time) * 1000 - wallMs(this.#clock)) > TOLERANCE_MS) return null;
    return { id, time, mac: Buffer.from(mac, 'hex') };
  }

  /** Whom the body comes from; null: the signature is not of this body. */
  verify({ id, time, mac }: ClaimedSignature, body: Buffer): Principal | null {
    const secret = this.#keys.get(id);
    const right = createHmac('sha256', secret ?? this.#nobodys)
      .update(`${time}.`)
      .update(body)
      .digest();
    const isEqual = timingSafeEqual(right, mac);
    return isEqual && secret !== undefined ? { name: `key ${id}`, scopes: INGEST } : null;
  }
}

const INGEST: Principal['scopes'] = new Set(['ingest'] as const);
