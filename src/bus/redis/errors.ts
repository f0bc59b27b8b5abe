import { BusError, type BusErrorKind } from '../bus.ts';

/** By the code word, the first word of an error reply. Others are taken to pass by themselves. */
const KINDS: Readonly<Record<string, BusErrorKind>> = {
  OOM: 'full',
  /** snapshots or the append-only file cannot be written: the disk */
  MISCONF: 'full',
  NOAUTH: 'setup',
  WRONGPASS: 'setup',
  NOPERM: 'setup',
  NOPROTO: 'setup',
  /** the key is of another type than stream */
  WRONGTYPE: 'setup',
  /** a node of a cluster: not supported */
  MOVED: 'setup',
  CROSSSLOT: 'setup',
  ERR: 'setup',
};

/** The server cannot serve anybody now: it starts, elects, or waits for its master. */
const AWAY = new Set(['LOADING', 'MASTERDOWN', 'READONLY', 'BUSY', 'CLUSTERDOWN', 'TRYAGAIN', 'NOREPLICAS']);

/** TLS and invalid addresses: the configuration is wrong, not the network. */
const SETUP_CODES = /^(ERR_TLS_|ERR_SSL_|ERR_INVALID_|CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|HOSTNAME_)/;

/** The code word of an error reply (`NOGROUP`), null when the error came from elsewhere. */
export function replyWord(error: unknown): string | null {
  if (!(error instanceof Error) || error.name !== 'ReplyError') return null;
  return /^[A-Z]+/.exec(error.message)?.[0] ?? 'ERR';
}

/** The server answered that it cannot serve anybody now. */
export function isServerAway(error: unknown): boolean {
  return AWAY.has(replyWord(error) ?? '');
}

/** The stream or the group does not exist (any more). */
export function isGroupMissing(error: unknown): boolean {
  const word = replyWord(error);
  // UNBLOCKED: the stream was deleted while a read waited for it
  return word === 'NOGROUP' || word === 'UNBLOCKED';
}

export function toBusError(error: unknown, doing: string): BusError {
  if (error instanceof BusError) return error;
  forgetCommand(error);
  const word = replyWord(error);
  const message = messageOf(error);
  if (word !== null) return new BusError(KINDS[word] ?? 'unreachable', `${doing}: ${message}`, error);
  const code = (error as { code?: unknown } | null)?.code;
  const kind = typeof code === 'string' && SETUP_CODES.test(code) ? 'setup' : 'unreachable';
  return new BusError(kind, `${doing}: ${message}`, error);
}

/** Of a name with several addresses each one failed, and the whole has no message. */
function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') return error.errors.map(messageOf).join('; ');
  return error instanceof Error ? error.message : String(error);
}

/** ioredis attaches the command to its error, with its arguments: records, or the password of AUTH. */
function forgetCommand(error: unknown): void {
  if (error instanceof Error && 'command' in error) delete error.command;
}
