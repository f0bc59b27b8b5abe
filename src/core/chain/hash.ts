import { constants, createPublicKey, hash, publicEncrypt, type KeyObject } from 'node:crypto';
import type { Transaction } from './tick.ts';

/**
 * The formulas of the chain profile `continuum-v1`: how a tick's hashes and its VDF output follow from its content
 * and from the output of the tick before. Bytes in, bytes out; hex is the caller's business. They reproduce the real
 * stream bit for bit (test/unit/core/chain/hash.test.ts).
 */

/** Beyond this an output is not recomputed: a second or so of squarings that whoever sends the tick can ask for. */
export const VDF_ITERATIONS_MAX = 1_000_000n;

/** An output, and the modulus, as big-endian bytes. */
export const VDF_OUTPUT_BYTES = 256;

/** N: the RSA-2048 challenge number, whose factors nobody knows. */
export const VDF_MODULUS_HEX = [
  'c7970ceedcc3b0754490201a7aa613cd73911081c790f5f1a8726f463550bb5b',
  '7ff0db8e1ea1189ec72f93d1650011bd721aeeacc2acde32a04107f0648c2813',
  'a31f5b0b7765ff8b44b4b6ffc93384b646eb09c7cf5e8592d40ea33c80039f35',
  'b4f14a04b51f7bfd781be4d1673164ba8eb991c2c4d730bbbe35f592bdef524a',
  'f7e8daefd26c66fc02c479af89d64d373f442709439de66ceb955f3ea37d5159',
  'f6135809f85334b5cb1813addc80cd05609f10ac6a95ad65872c909525bdad32',
  'bc729592642920f24c61dc5b3c3b7923e56b16a4d9d373d8721f24a3fc0f1b31',
  '31f55615172866bccc30f95054c824e733a5eb6817f7bc16399d48c6361cc7e5',
].join('');

/** sha256(tx_id ‖ payload ‖ signature ‖ public_key ‖ be64(nonce) ‖ be64(timestamp)), 32 bytes. */
export function txHash({ txId, payload, signature, publicKey, nonce, timestamp }: Transaction): Buffer {
  const length = txId.length + payload.length + signature.length + publicKey.length + 16;
  const bytes = length <= SCRATCH_BYTES ? scratch : Buffer.allocUnsafe(length);
  let at = 0;
  bytes.set(txId, at);
  bytes.set(payload, (at += txId.length));
  bytes.set(signature, (at += payload.length));
  bytes.set(publicKey, (at += signature.length));
  at = bytes.writeBigUInt64BE(nonce, at + publicKey.length);
  bytes.writeBigUInt64BE(timestamp, at);
  return sha256(bytes.subarray(0, length));
}

/** sha256 over the 32-byte transaction hashes in their order, 32 bytes; of nothing for a tick without transactions. */
export function batchHash(txHashes: readonly Uint8Array[]): Buffer {
  return sha256(txHashes.length === 1 ? txHashes[0] : Buffer.concat(txHashes));
}

/** sha256(previous_output ‖ batch_hash ‖ be64(tick_number)), 32 bytes. */
export function vdfInput(previousOutput: Uint8Array, batchHash: Uint8Array, tickNumber: bigint): Buffer {
  const length = previousOutput.length + batchHash.length + 8;
  const bytes = length <= SCRATCH_BYTES ? scratch : Buffer.allocUnsafe(length);
  bytes.set(previousOutput, 0);
  bytes.set(batchHash, previousOutput.length);
  bytes.writeBigUInt64BE(tickNumber, length - 8);
  return sha256(bytes.subarray(0, length));
}

/**
 * One call over bytes that lie together: half the time of a hash object with its updates, and nothing for the garbage
 * collector but a string. So what is hashed is put together first, in memory that is used again.
 */
function sha256(bytes: Uint8Array): Buffer {
  return Buffer.from(hash('sha256', bytes, 'binary'), 'binary');
}

const SCRATCH_BYTES = 64 * 1024;
const scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES);

/** x: sha256(vdf_input) as a big-endian integer with its lowest bit set, 256 bytes. */
export function vdfSeed(input: Uint8Array): Buffer {
  const seed = Buffer.alloc(VDF_OUTPUT_BYTES);
  const digest = sha256(input);
  digest[31] |= 1;
  seed.set(digest, VDF_OUTPUT_BYTES - digest.length);
  return seed;
}

/**
 * x^(2^iterations) mod N, 256 bytes big-endian, of the 32-byte VDF input. 27 iterations take about 45 µs.
 * @throws RangeError above VDF_ITERATIONS_MAX
 */
export function vdfOutput(input: Uint8Array, iterations: bigint): Buffer {
  if (iterations < 0n || iterations > VDF_ITERATIONS_MAX) {
    throw new RangeError(`${iterations} VDF iterations are not between 0 and ${VDF_ITERATIONS_MAX}`);
  }
  let value = vdfSeed(input);
  let left = Number(iterations);
  while (left > 0) {
    const squarings = Math.min(left, SQUARINGS_PER_CALL);
    value = publicEncrypt({ key: squaringKey(squarings), padding: constants.RSA_NO_PADDING }, value);
    left -= squarings;
  }
  return value;
}

/**
 * OpenSSL's public RSA operation without padding is value^e mod N in Montgomery form, three times as fast as BigInt;
 * with e = 2^k it is k squarings. It wants e below the modulus, so a long run of squarings takes several calls.
 */
const SQUARINGS_PER_CALL = 1024;

/** One key per k that was asked for, so at most SQUARINGS_PER_CALL of them; importing one costs more than 27 squarings. */
const squaringKeys: (KeyObject | undefined)[] = [];

function squaringKey(squarings: number): KeyObject {
  return (squaringKeys[squarings] ??= createPublicKey({
    format: 'jwk',
    key: { kty: 'RSA', n: base64Url(VDF_MODULUS_HEX), e: base64Url((1n << BigInt(squarings)).toString(16)) },
  }));
}

function base64Url(hex: string): string {
  return Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex').toString('base64url');
}
