/**
 * The simulator's chain computed a second time, from the docstring of src/sim/chain/content.ts, continuum.md and nothing of
 * src: BigInt arithmetic, texts and createHash. Slow and plain on purpose.
 */
import { createHash } from 'node:crypto';

export interface OracleOptions {
  seed: number;
  first: bigint;
  txs: number | 'mixed';
  payloadBytes: number;
  hostile: boolean;
  startMicros: bigint;
  ticksPerSecond: bigint;
  vdf: 'real' | 'fast';
  oversize?: { every: bigint; bytes: number };
  /** index from which the other chain begins */
  forkIndex?: number;
}

/** The simulator's own defaults, but a fixed beginning and a fast VDF. */
export const OPTIONS: OracleOptions = {
  seed: 1,
  first: 1n,
  txs: 'mixed',
  payloadBytes: 528,
  hostile: false,
  startMicros: 1_755_943_200_000_000n,
  ticksPerSecond: 2500n,
  vdf: 'fast',
};

export interface OracleTick {
  tick_number: string;
  vdf_proof: { input: string; output: string; proof: string; iterations: string };
  transactions: {
    transaction: {
      tx_id: Buffer;
      payload: Buffer;
      signature: Buffer;
      public_key: Buffer;
      nonce: string;
      timestamp: string;
    };
    sequence_number: string;
    tx_hash: string;
    ingestion_timestamp: string;
  }[];
  transaction_batch_hash: string;
  timestamp: string;
  previous_output: string;
}

const N = BigInt(
  '25195908475657893494027183240048398571429282126204032027777137836043662020707595556264018525880784406918290641249' +
    '515082189298559149176184502808489120072844992687392807287776735971418347270261896375014971824691165077613379859' +
    '095700097330459748808428401797429100642458691817195118746121515172654632282216869987549182422433637259085141865' +
    '462043576798423387184774447920739934236584823824281198163815010674810451660377306056201619676256133844143603833' +
    '904414952634432190114657544454178424020924616515723350778707749817125772467962926386356373289912154831438167899' +
    '885040445364023527381951378636564391212010397122822120720357',
);
const U32 = 2n ** 32n;
const GOLDEN = 0x9e3779b1n;

function fmix(value: bigint): bigint {
  let h = value;
  h ^= h >> 16n;
  h = (h * 0x85ebca6bn) % U32;
  h ^= h >> 13n;
  h = (h * 0xc2b2ae35n) % U32;
  return h ^ (h >> 16n);
}

function draw(state: bigint, lane: number | bigint): bigint {
  return fmix(state ^ (((BigInt(lane) + 1n) * GOLDEN) % U32));
}

function sha256(...parts: Uint8Array[]): Buffer {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
}

function be(value: bigint, bytes: number): Buffer {
  return Buffer.from(value.toString(16).padStart(bytes * 2, '0'), 'hex');
}

function words(count: number, word: (w: number) => bigint): Buffer {
  return Buffer.concat(Array.from({ length: count }, (_, w) => be(word(w), 4)));
}

/** What the chain of `options` has at the indexes 0 to count − 1. */
export function oracleChain(options: OracleOptions, count: number): OracleTick[] {
  const ticks: OracleTick[] = [];
  let previous = Buffer.concat([
    Buffer.alloc(224),
    sha256(Buffer.from(`sequencer-sim genesis ${options.seed}`)),
  ]);
  for (let index = 0; index < count; index++) {
    const tick = oracleTick(options, index, previous);
    previous = Buffer.from(tick.vdf_proof.output, 'hex');
    ticks.push(tick);
  }
  return ticks;
}

function oracleTick(options: OracleOptions, index: number, previous: Buffer): OracleTick {
  const forked = index >= (options.forkIndex ?? Infinity);
  const seed = BigInt(options.seed) ^ (forked ? 0xf0f0f0f0n : 0n);
  const number = options.first + BigInt(index);
  const state = fmix(fmix(fmix(seed) ^ (number % U32)) ^ (number / U32));
  const micros =
    options.startMicros + (1_000_000n * BigInt(index)) / options.ticksPerSecond + (forked ? 1n : 0n);
  const oversize = options.oversize !== undefined && number % options.oversize.every === 0n;
  let count = options.txs === 'mixed' ? mixedCount(Number(draw(state, 0) % 100n)) : options.txs;
  if ((forked || oversize) && count === 0) count = 1;
  const transactions = Array.from({ length: count }, (_, place) =>
    oracleTransaction(options, { seed, number, state, micros, place, oversize: oversize && place === 0 }),
  );
  const batch = sha256(...transactions.map(({ tx_hash }) => Buffer.from(tx_hash, 'hex')));
  const input = sha256(previous, batch, be(number, 8));
  const iterations = options.vdf === 'real' ? 27 : 0;
  let output = BigInt(`0x${sha256(input).toString('hex')}`) | 1n;
  for (let squaring = 0; squaring < iterations; squaring++) output = (output * output) % N;
  return {
    tick_number: String(number),
    vdf_proof: {
      input: input.toString('hex'),
      output: output.toString(16).padStart(512, '0'),
      proof: '01',
      iterations: String(iterations),
    },
    transactions,
    transaction_batch_hash: batch.toString('hex'),
    timestamp: String(micros),
    previous_output: previous.toString('hex'),
  };
}

function mixedCount(percent: number): number {
  return [80, 90, 95, 98].filter((limit) => percent >= limit).length;
}

interface Place {
  seed: bigint;
  number: bigint;
  state: bigint;
  micros: bigint;
  place: number;
  oversize: boolean;
}

function oracleTransaction(options: OracleOptions, at: Place): OracleTick['transactions'][number] {
  const d = (lane: number): bigint => draw(at.state, 64 * (at.place + 1) + lane);
  const hostile = options.hostile ? Number(d(5) % 64n) : -1;
  const orderId = 1_000_000_000n + (at.number % 2n ** 20n) * 1024n + BigInt(at.place);
  const client = at.micros - 1000n - (d(4) % 3000n);
  const owner = Number((d(3) >> 8n) % 8n);
  const idStart = [
    Buffer.from('frm_zéro_заказ_🦀'),
    Buffer.from('frm\0order'),
    Buffer.from([0x66, 0x72, 0x6d, 0x5f, 0xff, 0xc3, 0x5f, 0x6f, 0x72, 0x64, 0x65, 0x72]),
  ][hostile];
  const nonce = hostile === 4 ? 2n ** 64n - U32 + d(6) : orderId;
  const timestamp = hostile === 3 ? 2n ** 64n - U32 + d(6) : client;
  const transaction = {
    tx_id: Buffer.concat([idStart ?? Buffer.from('frm_order'), Buffer.from(`_${orderId}_${client}`)]),
    payload: oraclePayload(options, at, d, { orderId, client, owner }),
    signature: words(16, (w) => d(16 + w)),
    public_key: words(8, (w) => draw(fmix(at.seed), 65536 + 8 * owner + w)),
    nonce: String(nonce),
    timestamp: String(timestamp),
  };
  const hash = sha256(
    transaction.tx_id,
    transaction.payload,
    transaction.signature,
    transaction.public_key,
    be(nonce, 8),
    be(timestamp, 8),
  );
  return {
    transaction,
    sequence_number: String((at.number % 2n ** 48n) * 1024n + BigInt(at.place)),
    tx_hash: hash.toString('hex'),
    ingestion_timestamp: String(at.micros - 256n + BigInt(at.place % 256)),
  };
}

function oraclePayload(
  options: OracleOptions,
  at: Place,
  d: (lane: number) => bigint,
  order: { orderId: bigint; client: bigint; owner: number },
): Buffer {
  const opaque = (bytes: number): Buffer =>
    words(Math.ceil(bytes / 4), (w) => draw(d(8), w)).subarray(0, bytes);
  if (at.oversize) return opaque(options.oversize!.bytes);
  const kind = Number(d(0) % 64n);
  if (kind === 1) return Buffer.alloc(0);
  if (kind === 2 || options.payloadBytes < 526) return opaque(options.payloadBytes);
  if (kind === 0) {
    const note = d(8).toString(16).padStart(8, '0');
    return Buffer.from(`MEMO_v1.0:${JSON.stringify({ note })}`.padEnd(options.payloadBytes));
  }
  const alphabet = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';
  const address = Array.from(
    { length: 44 },
    (_, c) => alphabet[Number(draw(fmix(at.seed), 64 * order.owner + c) % 58n)],
  );
  const wave = (bits: bigint): bigint => {
    const offset = (at.number % 2n ** bits) - 2n ** (bits - 1n);
    return offset < 0n ? -offset : offset;
  };
  const cents = 15000n + wave(20n) / 1024n + wave(14n) / 64n + (d(1) % 17n) - 8n;
  const json = JSON.stringify({
    intent: {
      base_mint: 'So11111111111111111111111111111111111111112',
      expiry: Number(order.client / 1_000_000n) + 3600,
      order_id: Number(order.orderId),
      owner: address.join(''),
      price: Number(cents * 10_000_000n),
      quantity: Number(10_000_000_000n + 10_000n * (d(2) % 4_000_000n)),
      quote_mint: 'EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v',
      side: d(3) % 2n === 0n ? 'Buy' : 'Sell',
    },
    local_sequencer_id: 'sim',
    signature: words(16, (w) => d(16 + w)).toString('hex'),
    timestamp_ms: String(order.client / 1000n),
    type: 'order',
    version: '1.0',
  });
  return Buffer.from(`FRM_v1.0:${json}`.padEnd(options.payloadBytes));
}
