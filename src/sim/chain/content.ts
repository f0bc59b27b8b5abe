/**
 * The content of a simulated tick. Tick n of seed s is a pure function of (s, n, previous_output) and of the options,
 * simple enough to be recomputed by other code (test/integration/sim/oracle.ts does).
 *
 * Everything is drawn from one 32-bit mix; all arithmetic is modulo 2^32, G = 0x9E3779B1:
 *
 *     fmix(h)       h ^= h>>>16; h *= 0x85EBCA6B; h ^= h>>>13; h *= 0xC2B2AE35; h ^= h>>>16   (murmur3's finalizer)
 *     base(s)       fmix(s)
 *     tick(s, n)    fmix(fmix(base(s) ^ low32(n)) ^ high32(n))
 *     draw(t, lane) fmix(t ^ (lane + 1)·G)
 *
 * Below, t = tick(s, n); d(j) = draw(t, 64·(k+1) + j) for transaction k = 0, 1, …; words are written big-endian; i is
 * the index of the tick in its chain, n = first + i; / is integer division.
 *
 * - timestamp T = start + 1,000,000·i / (ticks per second), µs.
 * - number of transactions: --txs; with `mixed` draw(t, 0) mod 100 says 0 below 80, 1 below 90, 2 below 95, 3 below 98,
 *   else 4.
 * - sequence_number = (n mod 2^48)·1024 + k; order id = nonce = 10^9 + (n mod 2^20)·1024 + k;
 *   client timestamp C = T − 1000 − d(4) mod 3000; ingestion_timestamp = T − 256 + k mod 256.
 * - tx_id = `frm_order_<order id>_<C>`.
 * - owner o = d(3)>>>8 mod 8 has an address of 44 base58 digits, digit c = draw(base(s), 64·o + c) mod 58, and a public
 *   key of 8 words, word w = draw(base(s), 65536 + 8·o + w). signature: 16 words d(16 + w).
 * - payload of P = --payload-bytes, by d(0) mod 64: 0 = a text that is no order, `MEMO_v1.0:{"note":"<d(8) as 8 hex
 *   digits>"}`; 1 = empty; 2, and any P too small for the text = opaque bytes, word w = draw(d(8), w); else an order.
 *   Texts are padded with spaces.
 * - order: `FRM_v1.0:` and the JSON of orderText() in transaction-content.ts; side = Buy when d(3) is even; quantity = 10^10 +
 *   10^4·(d(2) mod 4,000,000) (10 to 50 SOL); price in cents = 15000 + wave(20)/1024 + wave(14)/64 + d(1) mod 17 − 8
 *   where wave(b) = |n mod 2^b − 2^(b−1)|, times 10^7; expiry = C/10^6 + 3600; timestamp_ms = C/1000.
 * - --fault oversize:N:BYTES: where N divides n, transaction 0 (one is added when there is none) has BYTES opaque bytes.
 * - --hostile, by d(5) mod 64: 0, 1, 2 = a tx_id with letters beyond ASCII, with NUL, that is no UTF-8 (HOSTILE_IDS there,
 *   in place of `frm_order`); 3 = client timestamp 2^64 − 2^32 + d(6); 4 = nonce 2^64 − 2^32 + d(6). (C itself is unchanged.)
 * - previous_output of the first tick: 224 zero bytes and sha256(`sequencer-sim genesis <s>`).
 * - the other chain of --fault fork: seed s xor 0xF0F0F0F0, at least one transaction in a tick, timestamps T + 1.
 *
 * Hashes, VDF input and output follow by core/chain/hash.ts: 27 iterations with --vdf real, 0 with fast; proof `01`.
 */
import { createHash } from 'node:crypto';

export interface ContentOptions {
  /** u32 */
  seed: number;
  /** number of the tick with index 0 */
  first: bigint;
  /** transactions in every tick */
  txs: number | 'mixed';
  payloadBytes: number;
  hostile: boolean;
  oversize: { every: bigint; bytes: number } | null;
  /** timestamp of the tick with index 0, µs since 1970; below 2^53 */
  startMicros: number;
  /** of timestamps, not of the clock */
  ticksPerSecond: number;
  vdf: 'real' | 'fast';
  /** index from which a fork has its other content; null without a fork */
  forkIndex: number | null;
}

/** sequence numbers leave 10 bits for the position in the tick */
export const TXS_MAX = 1024;
/** default of --payload-bytes: just above what an order needs */
export const ORDER_BYTES_DEFAULT = 528;
const GOLDEN = 0x9e37_79b1;
const FORK_SEED_MASK = 0xf0f0_f0f0;

export function fmix(value: number): number {
  let h = value;
  h ^= h >>> 16;
  h = Math.imul(h, 0x85eb_ca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2_ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

export function draw(state: number, lane: number): number {
  return fmix(state ^ Math.imul(lane + 1, GOLDEN));
}

export function tickState(seed: number, numberHigh: number, numberLow: number): number {
  return fmix(fmix(fmix(seed) ^ numberLow) ^ numberHigh);
}

export function forkSeed(seed: number): number {
  return (seed ^ FORK_SEED_MASK) >>> 0;
}

export function genesisOutput(seed: number): Buffer {
  const digest = createHash('sha256').update(`sequencer-sim genesis ${seed}`).digest();
  return Buffer.concat([Buffer.alloc(224), digest]);
}

/** How many transactions tick `number` has. */
export function transactionCount(options: ContentOptions, number: bigint, forked: boolean): number {
  const seed = forked ? forkSeed(options.seed) : options.seed;
  const low = Number(number & 0xffff_ffffn);
  const count = drawCount(options.txs, tickState(seed, Number(number >> 32n), low));
  const least = forked || (options.oversize !== null && number % options.oversize.every === 0n) ? 1 : 0;
  return Math.max(count, least);
}

export function drawCount(txs: number | 'mixed', state: number): number {
  if (txs !== 'mixed') return txs;
  const percent = draw(state, 0) % 100;
  if (percent < 80) return 0;
  if (percent < 90) return 1;
  if (percent < 95) return 2;
  return percent < 98 ? 3 : 4;
}
