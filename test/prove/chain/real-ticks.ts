import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import {
  batchHashOf,
  chainSpec,
  txHashOf,
  vdfInputOf,
  vdfOutputOf,
  type ExpectedTick,
} from '../../support/chain/content/expected.ts';
import { compareStored } from '../../support/chain/content/oracle.ts';
import { realTicks } from '../../support/chain/content/real-ticks.ts';
import { withIngester } from '../../support/chain/harness.ts';
import type { Figures, ScenarioContext } from '../harness.ts';

/** A tick as the file has it: proto3-JSON with the proto's own field names. */
interface JsonTick {
  tick_number: string;
  timestamp: string;
  previous_output: string;
  transaction_batch_hash: string;
  vdf_proof: { input: string; output: string; proof: string; iterations: string };
  transactions: {
    sequence_number: string;
    tx_hash: string;
    ingestion_timestamp: string;
    transaction: {
      tx_id: string;
      payload: string;
      signature: string;
      public_key: string;
      nonce: string;
      timestamp: string;
    };
  }[];
}

export function readTicks(text: string): ExpectedTick[] {
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  return lines.map((line) => fromJson(JSON.parse(line) as JsonTick));
}

function fromJson(json: JsonTick): ExpectedTick {
  return {
    tickNumber: BigInt(json.tick_number),
    timestamp: BigInt(json.timestamp),
    batchHash: json.transaction_batch_hash,
    previousOutput: json.previous_output,
    input: json.vdf_proof.input,
    output: json.vdf_proof.output,
    proof: json.vdf_proof.proof,
    iterations: BigInt(json.vdf_proof.iterations),
    transactions: json.transactions.map(({ transaction, ...ordered }) => ({
      txId: Buffer.from(transaction.tx_id, 'utf8'),
      payload: Buffer.from(transaction.payload, 'base64'),
      signature: Buffer.from(transaction.signature, 'base64'),
      publicKey: Buffer.from(transaction.public_key, 'base64'),
      nonce: BigInt(transaction.nonce),
      timestamp: BigInt(transaction.timestamp),
      sequenceNumber: BigInt(ordered.sequence_number),
      txHash: ordered.tx_hash,
      ingestionTimestamp: BigInt(ordered.ingestion_timestamp),
    })),
  };
}

/**
 * Must show 2: the three real ticks, replayed, ingested and read back equal to the file, field by field; their hashes
 * follow from what was stored. They are not consecutive: what lies between them are two gaps, which
 * the sequencer cannot fill.
 */
export async function storesRealTicks(context: ScenarioContext): Promise<Figures> {
  const ticks = readTicks(readFileSync(realTicks.path, 'utf8'));
  assert.equal(ticks.length, 3);
  for (const tick of ticks) assertHashes(tick);
  const [first, second, third] = ticks.map(({ tickNumber }) => tickNumber);
  const options = {
    databaseUrl: await context.database(),
    spec: chainSpec({ first }),
    count: Number(third - first + 1n),
    simArgs: ['--replay', realTicks.path],
  };
  return withIngester(options, async (harness) => {
    const daemon = harness.daemon();
    await harness.untilCaughtUp(daemon);
    const ready = await daemon.untilReady('gap');
    assert.equal(ready.details.complete_up_to, `${first}`);
    const done = await daemon.untilReady('ready');
    assert.equal(done.details.complete_up_to, `${third}`, 'gaps that are given up hold nothing up');
    await daemon.stop();
    const compared = await compareStored(harness.databaseUrl, ticks);
    const { unfillable, position } = await harness.check({ hashes: true, atRest: true });
    assert.equal(position, third);
    assert.deepEqual(unfillable, [
      { first: first + 1n, last: second - 1n },
      { first: second + 1n, last: third - 1n },
    ]);
    return { ticks: compared.ticks, transactions: compared.transactions, gaps: unfillable.length };
  });
}

/** The formulas of the oracle reproduce the real chain: only then do they say something about the rest. */
function assertHashes(tick: ExpectedTick): void {
  for (const transaction of tick.transactions) assert.equal(txHashOf(transaction), transaction.txHash);
  assert.equal(batchHashOf(tick.transactions), tick.batchHash);
  assert.equal(vdfInputOf(tick.previousOutput, tick.batchHash, tick.tickNumber), tick.input);
  assert.equal(vdfOutputOf(tick.input, tick.iterations), tick.output);
}
