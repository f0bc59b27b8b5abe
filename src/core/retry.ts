/** How to handle a database error: a closed union, decided by SQLSTATE and never by message text. */
export type StoreVerdict =
  /** the connection or a resource failed: retry the same bytes later, without a limit */
  | 'retry'
  /** the outcome may already be in the store: read the ledger first */
  | 'look'
  /** another daemon has taken over */
  | 'fenced'
  /** it can be the row's own fault, and is where the row fails alone while another one passes (store/postgres/witness.ts) */
  | 'data'
  /** program and store do not match (old schema, missing privilege) */
  | 'schema';

/** Raised by ingest_begin_batch (schema/001) when the lease has a newer epoch. */
export const SQLSTATE_FENCED = 'MDF01';

/**
 * Codes that a row's own content can cause: of the list in appendix A of the PostgreSQL manual, each judged by that one
 * question. Several have other causes as well (54000: a row or an index entry that is too large, and a server that stops
 * before its transaction ids wrap around; P0001: whatever a trigger says; 23514: a partition that is not there yet), so a
 * code alone accuses no row.
 */
const DATA_CODES = new Set([
  // data exceptions. Not here: sequences at their end (2200H), a format of COPY, what only statements are given
  ...codes(
    '22000 22001 22002 22003 22004 22005 22007 22008 22009 22010 22011 22012 22015 22018 22019 22021 22022',
  ),
  ...codes(
    '22023 22024 22025 22026 22027 2200B 2200C 2200D 2200F 2200G 2201B 2201E 2201F 2201G 2202E 22P01 22P02',
  ),
  ...codes('22P05 22P06 2200L 2200M 2200N 2200S 2200T'),
  // JSON: what a function of a trigger reads
  ...codes(
    '22030 22031 22032 22033 22034 22035 22036 22037 22038 22039 2203A 2203B 2203C 2203D 2203E 2203F 2203G',
  ),
  // constraints; 23001 is of deletions and updates
  ...codes('23000 23502 23503 23514 44000'),
  // what triggers raise, and the lookups they make by a row's content
  ...codes('09000 21000 27000 P0001 P0002 P0003 P0004'),
  ...codes('54000'),
]);
/** Our binary format is rejected: the column has another type, so every row has the same fault. */
const FORMAT_CODES = new Set(['22P03', '22P04']);

/**
 * Whatever is not provably of the row passes or is mended: resources (53), shutdown (57P0x), serialisation (40), locks and
 * states (55), I/O (58), a server that only reads (25006), internal errors (XX). An outage must never turn good ticks into
 * dead letters. Without a SQLSTATE the connection failed.
 */
export function storeVerdict(sqlstate: string | undefined): StoreVerdict {
  if (sqlstate === undefined || sqlstate === '') return 'retry';
  if (sqlstate === SQLSTATE_FENCED) return 'fenced';
  if (sqlstate === '23505' || sqlstate === '23P01') return 'look';
  if (DATA_CODES.has(sqlstate)) return 'data';
  if (FORMAT_CODES.has(sqlstate)) return 'schema';
  const group = sqlstate.slice(0, 2);
  if (group === '42' || group === '3F' || group === '0A') return 'schema';
  return 'retry';
}

/**
 * Codes by which a server says that a transaction was too much at once, for its memory (53200, which is also the table of
 * locks: a transaction takes some for each chunk), a limit of its own (53400) or a time (57014, 25P04). Where the cause was
 * another one, smaller transactions cost little.
 */
const TOO_MUCH_CODES = new Set(['53200', '53400', '57014', '25P04']);

/** Whether a smaller transaction may pass where this one did not. */
export function isTooMuch(sqlstate: string | undefined): boolean {
  return sqlstate !== undefined && TOO_MUCH_CODES.has(sqlstate);
}

/**
 * A statement went beyond a limit that the server is configured with, by TimescaleDB of the rows that one statement may
 * decompress (session-settings.ts lifts it where it can).
 */
export function isConfiguredLimit(sqlstate: string | undefined): boolean {
  return sqlstate === '53400';
}

/** What a database error means when the database is the bus (src/bus/bus.ts, BusErrorKind). */
export type BusVerdict = 'unreachable' | 'full' | 'refused' | 'setup';

/**
 * A record of the bus is a key and bytes within limits that were checked: an encoding or a CHECK can refuse it, and nothing
 * else is its fault.
 */
const RECORD_CODES = new Set(['22001', '22021', '22P05', '23502', '23514']);
/** Disk full and out of memory: publishing works again once space is freed. */
const FULL_CODES = new Set(['53100', '53200']);
/** Class 28: access denied; 3D000: no such database; MDB01: bus_renew (schema/003), the member's name was taken. */
const SETUP_CODES = new Set(['28P01', '28000', '3D000', 'MDB01']);

export function busVerdict(sqlstate: string | undefined): BusVerdict {
  if (sqlstate !== undefined && FULL_CODES.has(sqlstate)) return 'full';
  if (sqlstate !== undefined && SETUP_CODES.has(sqlstate)) return 'setup';
  if (sqlstate !== undefined && RECORD_CODES.has(sqlstate)) return 'refused';
  const verdict = storeVerdict(sqlstate);
  // 'look': an offset that already exists means that the counter and the segments are inconsistent
  return verdict === 'retry' || verdict === 'data' ? 'unreachable' : 'setup';
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

function codes(list: string): string[] {
  return list.split(' ');
}
