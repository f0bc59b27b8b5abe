import type { AuditObserver } from './leader/auditor.ts';
import type { IncidentCounts } from './leader/ledger-client.ts';
import type { CommittedBatch } from './pipeline/commit.ts';
import type { ReaderStats } from './reader/reader-thread.ts';
import type { ThreadStats } from './thread-stats.ts';
import type { WriterStats } from './writer/writer-thread.ts';

/** What the reader thread tells of its work, with a database behind it or without. */
export interface ReaderObserver {
  /** A thread lives; names are reader, parser-0, writer-0 … Twice a second, of a parser after each task. */
  threadStats(thread: string, stats: ThreadStats): void;
  readerStats(stats: ReaderStats): void;
}

/**
 * Everything that the stage `ingest` tells of its work, but for log lines (Env.log) and its present state
 * (Ingester.status): for metrics and logs. Nothing is decided by it.
 */
export interface IngestObserver extends ReaderObserver, AuditObserver {
  writerStats(writer: number, stats: WriterStats): void;
  committed(batch: CommittedBatch): void;
  /** Every few seconds while this daemon leads. */
  incidents(counts: IncidentCounts): void;
}
