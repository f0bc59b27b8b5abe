import type { BackoffLimits } from '../core/retry.ts';
import type { ReaderSetup } from '../ingest/reader/reader-thread.ts';
import type { planRing } from '../ingest/ring.ts';
import type { Config } from './config/load.ts';

/** How often the sequencer is asked for its head, ms. */
const HEAD_MS = 2_000;

/** How gaps are filled. Three answers "not there", at least three seconds from first to last, prove that there is nothing. */
const FILLING = {
  chunkTicks: 256,
  streamTicks: 1_000,
  chunkBytes: 4 * 1024 * 1024,
  calls: 16,
  longTicks: 1_000,
  turnTicks: 10_000,
  lingerMs: 10_000,
  missesMax: 3,
  missWaits: { firstMs: 2_000, maxMs: 30_000 },
  failureWaits: { firstMs: 1_000, maxMs: 60_000 },
};

export function ringLimits(config: Config): Parameters<typeof planRing>[0] {
  return {
    bufferBytes: config.bufferBytes,
    bufferTicks: config.bufferTicks,
    tickBytesMax: config.tickMaxBytes,
    batchTicksMax: config.batchMaxTicks,
  };
}

/** inFlightMax: batches that may be beyond the reader at once. */
export function readerSetup(
  config: Config,
  inFlightMax: number,
  backoff: BackoffLimits,
): Omit<ReaderSetup, 'geometry' | 'memory'> {
  if (config.grpc === null) throw new Error('the stage ingest is on, so CONTINUUM_GRPC_URL was required');
  return {
    source: {
      target: config.grpc.address,
      tls: config.grpc.tls,
      messageBytesMax: config.grpcMaxMessageBytes,
    },
    reading: {
      batchTicks: config.batchTicks,
      batchTicksMax: config.batchMaxTicks,
      flushMs: config.flushIntervalMs,
      inFlightMax,
      reorderTicks: config.reorderWindowTicks,
      reorderMs: config.reorderWindowMs,
      reorderBytes: Math.ceil(config.bufferBytes / 8),
    },
    filling: {
      ...FILLING,
      flushMs: config.flushIntervalMs,
      stallMs: config.stallTimeoutMs,
      backoff,
    },
    streaming: { stallMs: config.stallTimeoutMs, backoff, headMs: HEAD_MS },
  };
}
