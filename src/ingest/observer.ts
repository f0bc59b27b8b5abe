import type { AuditObserver } from './leader/auditor.ts';
import type { IncidentCounts } from './leader/ledger-client.ts';
import type { CommittedBatch } from './pipeline/commit.ts';
import type { ReaderStats } from './reader/reader-thread.ts';
import type { ThreadStats } from './thread-stats.ts';
import type { WriterStats } from './writer/writer-thread.ts';

/** What the reader thread reports, with or without a database behind it. */
export interface ReaderObserver {
  /** A thread's heartbeat; names are reader, parser-0, writer-0 … Twice a second; a parser's after each task. */
  threadStats(thread: string, stats: ThreadStats): void;
  readerStats(stats: ReaderStats): void;
}

/**
 * Everything the stage `ingest` reports besides log lines (Env.log) and its current state (Ingester.status): for
 * metrics and logs. No decision depends on it.
 */
export interface IngestObserver extends ReaderObserver, AuditObserver {
  writerStats(writer: number, stats: WriterStats): void;
  committed(batch: CommittedBatch): void;
  /** Every few seconds while this daemon leads. */
  incidents(counts: IncidentCounts): void;
}
