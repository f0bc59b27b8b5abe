import { storeVerdict } from '../../core/retry.ts';

/** The server's error code. System codes (ECONNRESET, EPIPE) do not count: every SQLSTATE in use has a digit. */
export function sqlstateOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' && /^(?=.*\d)[0-9A-Z]{5}$/.test(code) ? code : undefined;
}

/** The transaction's epoch is over: another process leads the chain, or owns the partition. */
export function isFenced(error: unknown): boolean {
  return storeVerdict(sqlstateOf(error)) === 'fenced';
}
