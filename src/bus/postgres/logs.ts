/**
 * Logs are numbered as the streams on redis are named: 0 is the topic's own, which bus_publish() writes. It is the topic's
 * one partition, or with several its inbox; those are then 1, 2, … A program that publishes need not know how many there are.
 */
export function logOf(partition: number, partitions: number): number {
  return partitions === 1 ? partition : partition + 1;
}

/** The partition whose log this is; INBOX (−1) for the topic's own among several. */
export function partitionOfLog(log: number, partitions: number): number {
  return partitions === 1 ? log : log - 1;
}

/** The logs of all partitions. */
export function logsOf(partitions: number): number[] {
  return Array.from({ length: partitions }, (_, partition) => logOf(partition, partitions));
}

/** The log of the inbox. */
export const INBOX_LOG = 0;
