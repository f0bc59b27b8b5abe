/** The wire has u64 tick numbers; those above it end in no bigint column. */
export const INT64_MAX = 2n ** 63n - 1n;

/**
 * A chain tick as objects: for the simulator, the console, GetTick and the verifier. The hot path never builds one
 * (see chain/wire.ts). Every u64 is a BigInt over its full range; every time is microseconds since 1970.
 * Source: proto/continuum.proto.
 */
export interface Tick {
  tickNumber: bigint;
  vdfProof: VdfProof;
  transactions: OrderedTransaction[];
  /** 64 hex digits */
  transactionBatchHash: string;
  /** µs since 1970 */
  timestamp: bigint;
  /** hex, 512 digits on the real chain; '' is legal */
  previousOutput: string;
}

export interface VdfProof {
  input: string;
  output: string;
  proof: string;
  iterations: bigint;
}

export interface OrderedTransaction {
  transaction: Transaction;
  sequenceNumber: bigint;
  /** 64 hex digits */
  txHash: string;
  /** µs since 1970 */
  ingestionTimestamp: bigint;
}

export interface Transaction {
  /** UTF-8 bytes as the client sent them: they may hold NUL or be no UTF-8 at all, and the hash is over the bytes */
  txId: Uint8Array;
  payload: Uint8Array;
  signature: Uint8Array;
  publicKey: Uint8Array;
  nonce: bigint;
  /** µs since 1970 */
  timestamp: bigint;
}
