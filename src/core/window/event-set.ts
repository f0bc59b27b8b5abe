const FIRST_SLOTS = 16;
/** Sequence numbers below this are packed with their time into one exact double: 2^26 µs of a minute, 2^27 numbers. */
const SEQ_SLOTS = 2 ** 27;
const SEQ_LIMIT = BigInt(SEQ_SLOTS);

/** What add() found. */
export type Seen = 'new' | 'repeat' | 'conflict';

/**
 * The events of one window by time and sequence number, each with a fingerprint of its content. Open addressing over two
 * arrays of doubles: a hot symbol has hundreds of thousands of events, and a Map of them would mostly keep the GC busy.
 */
export class EventSet {
  #keys = new Float64Array(FIRST_SLOTS);
  #contents = new Float64Array(FIRST_SLOTS);
  #mask = FIRST_SLOTS - 1;
  #slots = 0;
  /** events with large sequence numbers */
  #others: Map<string, number> | null = null;

  get size(): number {
    return this.#slots + (this.#others?.size ?? 0);
  }

  /** @param offsetUs from the start of the window, 0 … 60,000,000 */
  add(offsetUs: number, seq: bigint, content: number): Seen {
    if (seq >= SEQ_LIMIT) return this.#addOther(`${offsetUs}|${seq}`, content);
    // 0 is an empty slot
    const key = offsetUs * SEQ_SLOTS + Number(seq) + 1;
    const slot = this.#slotOf(key);
    if (this.#keys[slot] === key) return this.#contents[slot] === content ? 'repeat' : 'conflict';
    this.#keys[slot] = key;
    this.#contents[slot] = content;
    this.#slots += 1;
    if (this.#slots * 2 > this.#mask) this.#grow();
    return 'new';
  }

  #addOther(key: string, content: number): Seen {
    this.#others ??= new Map();
    const known = this.#others.get(key);
    if (known !== undefined) return known === content ? 'repeat' : 'conflict';
    this.#others.set(key, content);
    return 'new';
  }

  /** Where the key is, or the empty slot where it belongs. */
  #slotOf(key: number): number {
    const low = (key % 4294967296) | 0;
    const high = (key / 4294967296) | 0;
    let hash = Math.imul(low ^ (low >>> 15), 0x2c1b3c6d) ^ Math.imul(high, 0x297a2d39);
    hash ^= hash >>> 13;
    let slot = hash & this.#mask;
    while (this.#keys[slot] !== 0 && this.#keys[slot] !== key) slot = (slot + 1) & this.#mask;
    return slot;
  }

  #grow(): void {
    const keys = this.#keys;
    const contents = this.#contents;
    this.#mask = keys.length * 2 - 1;
    this.#keys = new Float64Array(this.#mask + 1);
    this.#contents = new Float64Array(this.#mask + 1);
    for (let at = 0; at < keys.length; at += 1) {
      if (keys[at] === 0) continue;
      const slot = this.#slotOf(keys[at]);
      this.#keys[slot] = keys[at];
      this.#contents[slot] = contents[at];
    }
  }
}

const DOUBLES = new Float64Array(4);
const WORDS = new Int32Array(DOUBLES.buffer);

/** 53 bits that tell two contents of one event apart; an absent value hashes differently from every finite one. */
export function fingerprint(
  a: number,
  b: number | null,
  c: number | null,
  d: number | null,
  small: number,
): number {
  DOUBLES[0] = a;
  DOUBLES[1] = b ?? NaN;
  DOUBLES[2] = c ?? NaN;
  DOUBLES[3] = d ?? NaN;
  let low = small | 0;
  let high = 0x9e3779b9 | 0;
  for (let at = 0; at < 8; at += 1) {
    low = Math.imul(low ^ WORDS[at], 0x85ebca6b);
    low ^= low >>> 13;
    high = Math.imul(high ^ low, 0xc2b2ae35) + WORDS[at];
    high ^= high >>> 16;
  }
  return (high >>> 11) * 4294967296 + (low >>> 0);
}
