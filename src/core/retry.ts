/** How to handle a database error: a closed union, decided by SQLSTATE and never by message text. */
export type StoreVerdict =
  /** the connection or a resource failed: retry the same bytes later, without a limit */
  | 'retry'
  /** the outcome may already be in the store: read the ledger first */
  | 'look'
  /** another daemon has taken over */
  | 'fenced'
  /** the data itself is refused; neighbours may be good */
  | 'data'
  /** program and store do not match (old schema, missing privilege) */
  | 'schema';

/** Raised by ingest_begin_batch (schema/001) when the lease has a newer epoch. */
export const SQLSTATE_FENCED = 'MDF01';

/**
 * Codes caused by a row although their class does not say so: an exception or assertion raised by a trigger, and a row or
 * an index entry that is too large.
 */
const DATA_CODES = new Set(['P0001', 'P0004', '54000']);
/** Our binary format is rejected: the column has another type, so every row has the same fault. */
const FORMAT_CODES = new Set(['22P03', '22P04']);

/**
 * Classes as in appendix A of the PostgreSQL manual. Class 53 (resources), 57P0x (shutdown), 40 (serialisation), 55P03
 * (lock) and 58 (I/O) are transient: an outage must never turn good ticks into dead letters. Without a SQLSTATE the
 * connection failed.
 */
export function storeVerdict(sqlstate: string | undefined): StoreVerdict {
  if (sqlstate === undefined || sqlstate === '') return 'retry';
  if (sqlstate === SQLSTATE_FENCED) return 'fenced';
  if (sqlstate === '23505' || sqlstate === '23P01') return 'look';
  if (DATA_CODES.has(sqlstate)) return 'data';
  if (FORMAT_CODES.has(sqlstate)) return 'schema';
  const group = sqlstate.slice(0, 2);
  if (group === '22' || group === '23') return 'data';
  if (group === '42' || group === '3F' || group === '0A') return 'schema';
  return 'retry';
}

/** What a database error means when the database is the bus (src/bus/bus.ts, BusErrorKind). */
export type BusVerdict = 'unreachable' | 'full' | 'refused' | 'setup';

/** Disk full and out of memory: publishing works again once space is freed. */
const FULL_CODES = new Set(['53100', '53200']);
/** Class 28: access denied; 3D000: no such database; MDB01: bus_renew (schema/003), the member's name was taken. */
const SETUP_CODES = new Set(['28P01', '28000', '3D000', 'MDB01']);

export function busVerdict(sqlstate: string | undefined): BusVerdict {
  if (sqlstate !== undefined && FULL_CODES.has(sqlstate)) return 'full';
  if (sqlstate !== undefined && SETUP_CODES.has(sqlstate)) return 'setup';
  const verdict = storeVerdict(sqlstate);
  if (verdict === 'retry') return 'unreachable';
  // 'look': an offset that already exists means that the counter and the segments are inconsistent
  return verdict === 'data' ? 'refused' : 'setup';
}

/** gRPC status codes that say "this position cannot be served", as opposed to "try again". */
const NOT_SERVED_CODES = new Set([
  3 /* INVALID_ARGUMENT */, 5 /* NOT_FOUND */, 9 /* FAILED_PRECONDITION */, 11 /* OUT_OF_RANGE */,
  15 /* DATA_LOSS */,
]);
const RESOURCE_EXHAUSTED = 8;

/** How a call or a stream of the sequencer failed. */
export interface CallFailure {
  /** gRPC status code; without one the connection failed */
  code?: number | undefined;
  /** our own side refused a message for its size */
  isTooLarge?: boolean | undefined;
}

export type StreamVerdict =
  | 'reconnect'
  /** the server limits us (quota, subscriptions, ENHANCE_YOUR_CALM): fewer requests, with longer waits */
  | 'limited'
  | 'position_not_served'
  | 'too_large';

/** RESOURCE_EXHAUSTED has two senders: our side means a size by it, the server its own resources. */
export function streamVerdict({ code, isTooLarge }: CallFailure): StreamVerdict {
  if (isTooLarge === true) return 'too_large';
  if (code === RESOURCE_EXHAUSTED) return 'limited';
  return code !== undefined && NOT_SERVED_CODES.has(code) ? 'position_not_served' : 'reconnect';
}

/** Waits between two requests to a server that limits us. */
export const LIMITED_BACKOFF: BackoffLimits = { firstMs: 1_000, maxMs: 30_000 };

export interface BackoffLimits {
  firstMs: number;
  maxMs: number;
}

/**
 * Full-jitter exponential backoff: a wait in [half, whole] of firstMs·2^attempt, capped. attempt counts from 0;
 * `random` is in [0, 1).
 */
export function backoffMs(attempt: number, limits: BackoffLimits, random: number): number {
  const whole = Math.min(limits.maxMs, limits.firstMs * 2 ** Math.min(attempt, 30));
  return Math.round(whole / 2 + (whole / 2) * random);
}
