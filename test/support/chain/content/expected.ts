import { hash } from 'node:crypto';

/**
 * What a simulated chain holds, computed from the text in src/sim/chain/content.ts and the formulas of the chain alone: none
 * of the program's code stands between this and the database. Plain objects; fast enough to walk a million ticks.
 */
export interface ChainSpec {
  /** u32 */
  seed: number;
  first: bigint;
  txs: number | 'mixed';
  payloadBytes: number;
  hostile: boolean;
  /** ISO-8601 to the second, with Z */
  startTime: string;
  /** of the timestamps */
  ticksPerSecond: bigint;
  vdf: 'real' | 'fast';
  oversize: { every: bigint; bytes: number } | null;
}

export interface ExpectedTransaction {
  txId: Buffer;
  payload: Buffer;
  signature: Buffer;
  publicKey: Buffer;
  nonce: bigint;
  /** µs since 1970, any u64 */
  timestamp: bigint;
  sequenceNumber: bigint;
  txHash: string;
  ingestionTimestamp: bigint;
}

export interface ExpectedTick {
  tickNumber: bigint;
  /** µs since 1970 */
  timestamp: bigint;
  batchHash: string;
  previousOutput: string;
  input: string;
  output: string;
  proof: string;
  iterations: bigint;
  transactions: ExpectedTransaction[];
}

/** What sequencer-sim serves unless told otherwise, but with a fixed time and without squarings. */
export function chainSpec(changes: Partial<ChainSpec> = {}): ChainSpec {
  return {
    seed: 1,
    first: 1n,
    txs: 'mixed',
    payloadBytes: 528,
    hostile: false,
    startTime: '2025-08-23T10:00:00Z',
    ticksPerSecond: 2500n,
    vdf: 'fast',
    oversize: null,
    ...changes,
  };
}

/** The arguments that make sequencer-sim serve this chain; `count` ticks exist, all of them from the start. */
export function simArguments(spec: ChainSpec, count: number): string[] {
  if (spec.ticksPerSecond !== 2500n) throw new Error('a chain that does not grow has 2500 ticks a second');
  return [...contentArguments(spec), ...options({ head: count, rate: 0 })];
}

/** The same for a chain that grows by its ticks per second, from nothing and without end. */
export function growingSimArguments(spec: ChainSpec): string[] {
  return [...contentArguments(spec), ...options({ head: 0, rate: spec.ticksPerSecond })];
}

function contentArguments(spec: ChainSpec): string[] {
  const { seed, first, txs, payloadBytes, vdf, startTime, oversize } = spec;
  const content = options({ seed, first, txs, 'payload-bytes': payloadBytes, vdf, 'start-time': startTime });
  if (spec.hostile) content.push('--hostile');
  if (oversize !== null) content.push('--fault', `oversize:${oversize.every}:${oversize.bytes}`);
  return content;
}

function options(values: Record<string, string | number | bigint>): string[] {
  return Object.entries(values).flatMap(([name, value]) => [`--${name}`, `${value}`]);
}

/** The ticks with the indexes 0 to count − 1. */
export function* expectedTicks(spec: ChainSpec, count: number): Generator<ExpectedTick, void, undefined> {
  const makers = new Transactions(spec);
  let previousOutput = '00'.repeat(224) + sha256Hex(Buffer.from(`sequencer-sim genesis ${spec.seed}`));
  for (let index = 0; index < count; index++) {
    const tick = expectedTick(spec, makers, index, previousOutput);
    previousOutput = tick.output;
    yield tick;
  }
}

function expectedTick(
  spec: ChainSpec,
  makers: Transactions,
  index: number,
  previousOutput: string,
): ExpectedTick {
  const tickNumber = spec.first + BigInt(index);
  const low = Number(tickNumber & 0xffff_ffffn);
  const state = mix(mix(mix(spec.seed) ^ low) ^ Number(tickNumber >> 32n));
  const timestamp =
    BigInt(Date.parse(spec.startTime)) * 1000n + (BigInt(index) * 1_000_000n) / spec.ticksPerSecond;
  const isOversize = spec.oversize !== null && tickNumber % spec.oversize.every === 0n;
  let count = spec.txs === 'mixed' ? mixedCount(lane(state, 0) % 100) : spec.txs;
  if (isOversize && count === 0) count = 1;
  const transactions: ExpectedTransaction[] = [];
  for (let place = 0; place < count; place++) {
    transactions.push(
      makers.make({ tickNumber, low, state, timestamp, place, isOversize: isOversize && place === 0 }),
    );
  }
  const batchHash = batchHashOf(transactions);
  const input = vdfInputOf(previousOutput, batchHash, tickNumber);
  const iterations = spec.vdf === 'real' ? 27n : 0n;
  const output = vdfOutputOf(input, iterations);
  return {
    tickNumber,
    timestamp,
    batchHash,
    previousOutput,
    input,
    output,
    proof: '01',
    iterations,
    transactions,
  };
}

/** The whole chain in memory, by number: for short ones. */
export function allTicks(spec: ChainSpec, count: number): Map<bigint, ExpectedTick> {
  return new Map([...expectedTicks(spec, count)].map((tick) => [tick.tickNumber, tick]));
}

// --- The formulas of the chain, from continuum.md ---

export function txHashOf(transaction: Omit<ExpectedTransaction, 'txHash'>): string {
  const { txId, payload, signature, publicKey, nonce, timestamp } = transaction;
  return sha256Hex(Buffer.concat([txId, payload, signature, publicKey, be64(nonce), be64(timestamp)]));
}

const EMPTY_BATCH = sha256Hex(Buffer.alloc(0));

export function batchHashOf(transactions: readonly { txHash: string }[]): string {
  if (transactions.length === 0) return EMPTY_BATCH;
  return sha256Hex(Buffer.from(transactions.map(({ txHash }) => txHash).join(''), 'hex'));
}

export function vdfInputOf(previousOutput: string, batchHash: string, tickNumber: bigint): string {
  return sha256Hex(
    Buffer.from(`${previousOutput}${batchHash}${tickNumber.toString(16).padStart(16, '0')}`, 'hex'),
  );
}

/** RSA-2048, the challenge number. */
const MODULUS = BigInt(
  '25195908475657893494027183240048398571429282126204032027777137836043662020707595556264018525880784406918290641249515' +
    '08218929855914917618450280848912007284499268739280728777673597141834727026189637501497182469116507761337985909570' +
    '00973304597488084284017974291006424586918171951187461215151726546322822168699875491824224336372590851418654620435' +
    '76798423387184774447920739934236584823824281198163815010674810451660377306056201619676256133844143603833904414952' +
    '63443219011465754445417842402092461651572335077870774981712577246796292638635637328991215483143816789988504044536' +
    '4023527381951378636564391212010397122822120720357',
);

export function vdfOutputOf(input: string, iterations: bigint): string {
  const digest = sha256Hex(Buffer.from(input, 'hex'));
  const odd = (Number.parseInt(digest.slice(-1), 16) | 1).toString(16);
  if (iterations === 0n) return `${'0'.repeat(448)}${digest.slice(0, -1)}${odd}`;
  let value = BigInt(`0x${digest}`) | 1n;
  for (let squaring = 0n; squaring < iterations; squaring++) value = (value * value) % MODULUS;
  return value.toString(16).padStart(512, '0');
}

function sha256Hex(bytes: Buffer): string {
  return hash('sha256', bytes, 'hex');
}

function be64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(value);
  return bytes;
}

// --- The content ---

function mix(value: number): number {
  let h = value | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85eb_ca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2_ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

function lane(state: number, number: number): number {
  return mix(state ^ Math.imul(number + 1, 0x9e37_79b1));
}

function words(count: number, word: (index: number) => number): Buffer {
  const bytes = Buffer.alloc(4 * count);
  for (let index = 0; index < count; index++) bytes.writeUInt32BE(word(index), 4 * index);
  return bytes;
}

function mixedCount(percent: number): number {
  if (percent < 80) return 0;
  if (percent < 90) return 1;
  if (percent < 95) return 2;
  return percent < 98 ? 3 : 4;
}

interface Place {
  tickNumber: bigint;
  low: number;
  state: number;
  timestamp: bigint;
  place: number;
  isOversize: boolean;
}

const BASE58 = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';
/** what an order needs at least */
const ORDER_BYTES = 526;
const HIGH_END = 2n ** 64n - 2n ** 32n;
const STRANGE_IDS = [
  Buffer.from('frm_zéro_заказ_🦀', 'utf8'),
  Buffer.from('frm\u0000order', 'latin1'),
  Buffer.from('frm_\u00ff\u00c3_order', 'latin1'),
];

class Transactions {
  readonly #spec: ChainSpec;
  readonly #owners: { address: string; publicKey: Buffer }[];

  constructor(spec: ChainSpec) {
    this.#spec = spec;
    const base = mix(spec.seed);
    this.#owners = Array.from({ length: 8 }, (_, owner) => ({
      address: Array.from({ length: 44 }, (_, digit) => BASE58[lane(base, 64 * owner + digit) % 58]).join(''),
      publicKey: words(8, (word) => lane(base, 65_536 + 8 * owner + word)),
    }));
  }

  make(at: Place): ExpectedTransaction {
    const d = (number: number): number => lane(at.state, 64 * (at.place + 1) + number);
    const hostility = this.#spec.hostile ? d(5) % 64 : -1;
    const orderId = 1_000_000_000 + (at.low % 2 ** 20) * 1024 + at.place;
    const client = at.timestamp - 1000n - BigInt(d(4) % 3000);
    const owner = this.#owners[(d(3) >>> 8) % 8];
    const idSuffix = Buffer.from(`_${orderId}_${client}`);
    const parts = {
      txId: Buffer.concat([STRANGE_IDS[hostility] ?? Buffer.from('frm_order'), idSuffix]),
      payload: this.#payload(at, d, orderId, client, owner.address),
      signature: words(16, (word) => d(16 + word)),
      publicKey: owner.publicKey,
      nonce: hostility === 4 ? HIGH_END + BigInt(d(6)) : BigInt(orderId),
      timestamp: hostility === 3 ? HIGH_END + BigInt(d(6)) : client,
      sequenceNumber: (at.tickNumber % 2n ** 48n) * 1024n + BigInt(at.place),
      ingestionTimestamp: at.timestamp - 256n + BigInt(at.place % 256),
    };
    return { ...parts, txHash: txHashOf(parts) };
  }

  #payload(
    at: Place,
    d: (number: number) => number,
    orderId: number,
    client: bigint,
    address: string,
  ): Buffer {
    const { payloadBytes, oversize } = this.#spec;
    const opaque = (bytes: number): Buffer => {
      const state = d(8);
      return words(Math.ceil(bytes / 4), (word) => lane(state, word)).subarray(0, bytes);
    };
    if (at.isOversize) return opaque(oversize?.bytes ?? 0);
    const kind = d(0) % 64;
    if (kind === 1) return Buffer.alloc(0);
    if (kind === 2 || payloadBytes < ORDER_BYTES) return opaque(payloadBytes);
    const text =
      kind === 0
        ? `MEMO_v1.0:{"note":"${d(8).toString(16).padStart(8, '0')}"}`
        : `FRM_v1.0:${this.#order(at, d, orderId, client, address)}`;
    return Buffer.from(text.padEnd(payloadBytes), 'latin1');
  }

  #order(at: Place, d: (number: number) => number, orderId: number, client: bigint, address: string): string {
    const wave = (bits: number): number => Math.abs((at.low % 2 ** bits) - 2 ** (bits - 1));
    const cents = 15_000 + Math.floor(wave(20) / 1024) + Math.floor(wave(14) / 64) + (d(1) % 17) - 8;
    return JSON.stringify({
      intent: {
        base_mint: 'So11111111111111111111111111111111111111112',
        expiry: Number(client / 1_000_000n) + 3600,
        order_id: orderId,
        owner: address,
        price: cents * 10_000_000,
        quantity: 10_000_000_000 + 10_000 * (d(2) % 4_000_000),
        quote_mint: 'EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v',
        side: d(3) % 2 === 0 ? 'Buy' : 'Sell',
      },
      local_sequencer_id: 'sim',
      signature: words(16, (word) => d(16 + word)).toString('hex'),
      timestamp_ms: `${client / 1000n}`,
      type: 'order',
      version: '1.0',
    });
  }
}
