import type { StateIn, StateOut } from '../feature/series/state.ts';

/** Keys of ticks that took part, in order: immutable, and stored once. */
export interface KeyBlock {
  /** of the last key, µs; no two blocks of a symbol end at the same time */
  lastUs: number;
  /** as keysOf() reads them */
  keys: Uint8Array;
}

/** keys of a block, about: what a state holds of them is rewritten by each checkpoint, a block is not */
const BLOCK_KEYS = 512;
/** of one key, at most: two numbers of 7 bits a byte */
const KEY_BYTES_MAX = 18;

/**
 * Time and seq of every tick of a symbol that took part, however long ago: what comes again is no late tick. The newest ones are
 * here. Older ones are given away in blocks, once each, and asked for where they are stored.
 */
export class TakenKeys {
  #ts = new Float64Array(BLOCK_KEYS);
  #seq = new BigInt64Array(BLOCK_KEYS);
  #count = 0;
  /** in order of time; nobody has taken them yet */
  #sealed: KeyBlock[] = [];
  /** taken by the checkpoint before: it may be under way */
  #given: KeyBlock[] = [];
  readonly #keepsAll: boolean;

  /** @param keepsAll false: the newest ones do */
  constructor(keepsAll: boolean) {
    this.#keepsAll = keepsAll;
  }

  /** Keys come in the order of (tsUs, seq). */
  add(tsUs: number, seq: bigint): void {
    const count = this.#count;
    // those of one time stay together: a block is found by the time of its last key
    if (count >= BLOCK_KEYS && tsUs > this.#ts[count - 1]) this.#seal();
    else if (count === this.#ts.length) this.#grow();
    this.#ts[this.#count] = tsUs;
    this.#seq[this.#count] = seq;
    this.#count += 1;
  }

  /** False: it is not among those that are here. */
  has(tsUs: number, seq: bigint): boolean {
    if (this.#count > 0 && tsUs >= this.#ts[0]) return this.#isInTail(tsUs, seq);
    for (const blocks of [this.#sealed, this.#given]) {
      const block = blocks.find(({ lastUs }) => lastUs >= tsUs);
      if (block !== undefined && blockHas(block.keys, tsUs, seq)) return true;
    }
    return false;
  }

  /** Blocks since the last call, to be stored together with the state; that of the last call is stored by now. */
  take(): readonly KeyBlock[] {
    this.#given = this.#sealed;
    this.#sealed = [];
    return this.#given;
  }

  /** Without blocks: take() has them. */
  save(out: StateOut): void {
    out.f64(this.#count);
    for (let at = 0; at < this.#count; at += 1) {
      out.f64(this.#ts[at]);
      out.i64(this.#seq[at]);
    }
  }

  load(state: StateIn): void {
    for (let left = state.f64(); left > 0; left -= 1) this.add(state.f64(), state.i64());
  }

  #isInTail(tsUs: number, seq: bigint): boolean {
    let low = 0;
    let high = this.#count;
    while (low < high) {
      const middle = low + Math.floor((high - low) / 2);
      if (this.#ts[middle] < tsUs) low = middle + 1;
      else high = middle;
    }
    for (; low < this.#count && this.#ts[low] === tsUs; low += 1) if (this.#seq[low] === seq) return true;
    return false;
  }

  #seal(): void {
    if (this.#keepsAll) {
      const keys = encode(this.#ts.subarray(0, this.#count), this.#seq);
      this.#sealed.push({ lastUs: this.#ts[this.#count - 1], keys });
    }
    this.#count = 0;
  }

  #grow(): void {
    const ts = new Float64Array(2 * this.#ts.length);
    ts.set(this.#ts);
    this.#ts = ts;
    const seq = new BigInt64Array(ts.length);
    seq.set(this.#seq);
    this.#seq = seq;
  }
}

/** Whether the block has this key. */
export function blockHas(block: Uint8Array, tsUs: number, seq: bigint): boolean {
  for (const key of keysOf(block)) {
    if (key.tsUs > tsUs) return false;
    if (key.tsUs === tsUs && key.seq === seq) return true;
  }
  return false;
}

/** The keys of a block, in order. */
export function* keysOf(block: Uint8Array): Generator<{ tsUs: number; seq: bigint }> {
  let at = 0;
  let tsUs = 0;
  let seq = 0n;
  /** seven bits a byte, the lowest first */
  const next = (): bigint => {
    let low = 0;
    let scale = 1;
    for (let count = 0; count < 7; count += 1) {
      const byte = block[at];
      at += 1;
      low += (byte & 0x7f) * scale;
      if (byte < 0x80) return BigInt(low);
      scale *= 0x80;
    }
    let value = BigInt(low);
    for (let shift = 49n; ; shift += 7n) {
      const byte = block[at];
      at += 1;
      value += BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < block.length) {
    tsUs += Number(next());
    const step = next();
    seq = BigInt.asIntN(64, seq + ((step >> 1n) ^ -(step & 1n)));
    yield { tsUs, seq };
  }
}

/** Each key by its difference from the one before: time, and seq with its sign in the lowest bit. */
function encode(ts: Float64Array, seq: BigInt64Array): Uint8Array {
  const bytes = new Uint8Array(ts.length * KEY_BYTES_MAX);
  let end = 0;
  let beforeUs = 0;
  let before = 0n;
  const put = (value: number): void => {
    let rest = value;
    for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) {
      bytes[end] = 0x80 + (rest % 0x80);
      end += 1;
    }
    bytes[end] = rest;
    end += 1;
  };
  for (let at = 0; at < ts.length; at += 1) {
    put(ts[at] - beforeUs);
    const difference = BigInt.asIntN(64, seq[at] - before);
    const step = BigInt.asUintN(64, (difference << 1n) ^ (difference >> 63n));
    if (step <= Number.MAX_SAFE_INTEGER) put(Number(step));
    else {
      // what a double holds of it, and the rest
      let low = Number(BigInt.asUintN(49, step));
      for (const groupsEnd = end + 7; end < groupsEnd; end += 1) {
        bytes[end] = 0x80 + (low % 0x80);
        low = Math.floor(low / 0x80);
      }
      put(Number(step >> 49n));
    }
    beforeUs = ts[at];
    before = seq[at];
  }
  return bytes.slice(0, end);
}
