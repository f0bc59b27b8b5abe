import { AssertionError } from 'node:assert';
import { Client } from 'pg';
import { to as copyTo } from 'pg-copy-streams';
import type { ExpectedTick, ExpectedTransaction } from './expected.ts';

/** What a comparison went through. */
export interface Compared {
  ticks: number;
  transactions: number;
  seconds: number;
}

export interface CompareOptions {
  /** ticks that are not in the tables and must not be: dead letters, gaps */
  absent?: (tickNumber: bigint) => boolean;
  /** only the rows of ticks above `after` and up to `upTo`, which `expected` then holds; the tables are not counted */
  range?: { after: bigint; upTo: bigint };
}

const PAGE_TICKS = 4096;
const SHOWN_CHARS = 160;

const TICK_COLUMNS = [
  'tick_number',
  '"timestamp"',
  'batch_hash',
  'previous_output',
  'vdf_input',
  'vdf_output',
  'vdf_proof',
  'vdf_iterations',
];
const TRANSACTION_COLUMNS = [
  'tx_hash',
  'tx_id',
  'tick_number',
  'sequence_number',
  'payload',
  'signature',
  'public_key',
  'nonce',
  '"timestamp"',
  'tick_timestamp',
  'ingestion_timestamp',
  'tx_id_raw',
  'timestamp_us',
];

/** A client with plain settings, for looking at what the daemon stored. */
export async function openClient(url: string): Promise<Client> {
  const client = new Client({ connectionString: url, application_name: 'oracle' });
  client.on('error', () => {}); // a server that is stopped under it; the next query says so
  await client.connect();
  await client.query("SET timezone = 'UTC'; SET datestyle = 'ISO'; SET bytea_output = 'hex'");
  return client;
}

/** The server went away, is not there yet, or has no room to write out a page (53100): its data may be well. */
export function isConnectionLoss(error: unknown): boolean {
  if (!(error instanceof Error) || error instanceof AssertionError) return false;
  const code = (error as { code?: unknown }).code;
  // without a code: pg's own words about a connection that ended
  if (typeof code !== 'string') return /onnection|not queryable/.test(error.message);
  return /^(57P0|08|53300|53100|ECONN|EPIPE|ETIMEDOUT)/.test(code);
}

/**
 * Compares every column of every row of ticks (through v_ticks_complete), vdf_proofs and tick_transactions with
 * `expected`, in order: none missing, none extra, none twice. In one snapshot, a page of ticks at a time; while the
 * server reads one page the next one is computed here.
 * @throws Error with the first row that differs
 */
export async function compareStored(
  url: string,
  expected: Iterable<ExpectedTick>,
  options: CompareOptions = {},
): Promise<Compared> {
  const clients = [await openClient(url), await openClient(url)];
  const beganMs = performance.now();
  try {
    await shareSnapshot(clients);
    const counts = await comparePages(clients, expected, options);
    if (options.range === undefined) await compareCounts(clients[0], counts);
    return { ...counts, seconds: (performance.now() - beganMs) / 1000 };
  } finally {
    for (const client of clients) await client.end();
  }
}

async function shareSnapshot([owner, ...others]: readonly Client[]): Promise<void> {
  await owner.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
  const { rows } = await owner.query<{ id: string }>('SELECT pg_export_snapshot() AS id');
  for (const other of others) {
    await other.query(
      `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT '${rows[0].id}'`,
    );
  }
  // fresh tables have no statistics, and what the planner guesses without them is a sort of everything for each page
  const plan = ['enable_seqscan', 'enable_hashjoin', 'enable_bitmapscan'].map(
    (name) => `SET LOCAL ${name} = off`,
  );
  for (const client of [owner, ...others])
    await client.query([...plan, "SET LOCAL work_mem = '64MB'"].join('; '));
}

interface Page {
  after: bigint;
  last: bigint;
  ticks: string[];
  transactions: string[];
}

async function comparePages(
  clients: readonly Client[],
  expected: Iterable<ExpectedTick>,
  { absent = () => false, range }: CompareOptions,
): Promise<{ ticks: number; transactions: number }> {
  const counts = { ticks: 0, transactions: 0 };
  let comparing = Promise.resolve();
  const began = range?.after ?? -1n;
  let page: Page = { after: began, last: began, ticks: [], transactions: [] };
  const turn = async (last: bigint): Promise<void> => {
    await comparing;
    page.last = last;
    comparing = comparePage(clients, page);
    comparing.catch(() => {}); // it is awaited below, or at the next turn
    counts.ticks += page.ticks.length;
    counts.transactions += page.transactions.length;
    page = { after: last, last, ticks: [], transactions: [] };
    await new Promise(setImmediate); // the queries go out before the next page is computed
  };
  for (const tick of expected) {
    if (absent(tick.tickNumber)) continue;
    page.ticks.push(tickLine(tick));
    const inOrder = tick.transactions.toSorted((a, b) => (a.sequenceNumber < b.sequenceNumber ? -1 : 1));
    for (const transaction of inOrder) page.transactions.push(transactionLine(tick, transaction));
    if (page.ticks.length >= PAGE_TICKS) await turn(tick.tickNumber);
  }
  await turn(range?.upTo ?? 2n ** 63n - 1n);
  await comparing;
  return counts;
}

async function comparePage([first, second]: readonly Client[], page: Page): Promise<void> {
  const where = `WHERE tick_number > ${page.after} AND tick_number <= ${page.last}`;
  await Promise.all([
    compareRows(first, 'v_ticks_complete', TICK_COLUMNS, `${where} ORDER BY tick_number`, page.ticks),
    compareRows(
      second,
      'tick_transactions',
      TRANSACTION_COLUMNS,
      `${where} ORDER BY tick_number, sequence_number`,
      page.transactions,
    ),
  ]);
}

/** The view shows no proof without a tick: the tables are counted as well. */
async function compareCounts(
  client: Client,
  expected: { ticks: number; transactions: number },
): Promise<void> {
  const { rows } = await client.query<Record<string, string>>(
    `SELECT (SELECT count(*) FROM ticks) AS ticks, (SELECT count(*) FROM vdf_proofs) AS vdf_proofs,
       (SELECT count(*) FROM tick_transactions) AS tick_transactions`,
  );
  const wanted = {
    ticks: `${expected.ticks}`,
    vdf_proofs: `${expected.ticks}`,
    tick_transactions: `${expected.transactions}`,
  };
  for (const [table, count] of Object.entries(wanted)) {
    if (rows[0][table] !== count)
      throw new Error(`${table} holds ${rows[0][table]} rows instead of ${count}`);
  }
}

async function compareRows(
  client: Client,
  table: string,
  columns: readonly string[],
  rest: string,
  expected: readonly string[],
): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of client.query(
    copyTo(`COPY (SELECT ${columns.join(', ')} FROM ${table} ${rest}) TO STDOUT`),
  )) {
    chunks.push(chunk as Buffer);
  }
  const stored = Buffer.concat(chunks);
  if (stored.equals(Buffer.from(expected.join(''), 'utf8'))) return;
  throw new Error(describeDifference(table, columns, expected, stored.toString('utf8')));
}

function describeDifference(
  table: string,
  columns: readonly string[],
  expected: readonly string[],
  stored: string,
): string {
  const lines = stored.split(/(?<=\n)/);
  const at = expected.findIndex((line, index) => line !== lines[index]);
  const wanted = at < 0 ? undefined : expected[at];
  const found = at < 0 ? lines[expected.length] : lines[at];
  const key = (line: string | undefined): string => {
    if (line === undefined) return 'nothing';
    return `tick ${cells(line)[columns.indexOf('tick_number')]}`;
  };
  const differing = columns.flatMap((column, index) => {
    const [want, have] = [cells(wanted)[index], cells(found)[index]];
    return want === have ? [] : [`  ${column}: expected ${short(want)}, stored ${short(have)}`];
  });
  return `${table}: expected ${key(wanted)}, stored ${key(found)}\n${differing.join('\n')}`;
}

function cells(line: string | undefined): string[] {
  return line?.trimEnd().split('\t') ?? [];
}

function short(text: string | undefined): string {
  if (text === undefined) return 'nothing';
  return text.length <= SHOWN_CHARS ? text : `${text.slice(0, SHOWN_CHARS)}… (${text.length} characters)`;
}

// --- Rows as COPY … TO STDOUT writes them in its text format ---

const NULL = '\\N';
/** what timestamptz holds: 4714-11-24 BC is below every u64; the end is 294276-12-31 */
const TIMESTAMPTZ_END_MICROS = 9_224_318_016_000_000_000n;

function tickLine(tick: ExpectedTick): string {
  const { tickNumber, timestamp, batchHash, previousOutput, input, output, proof, iterations } = tick;
  return `${[
    tickNumber,
    timestampText(timestamp),
    text(batchHash),
    text(previousOutput),
    text(input),
    text(output),
    text(proof),
    iterations,
  ].join('\t')}\n`;
}

function transactionLine(tick: ExpectedTick, transaction: ExpectedTransaction): string {
  const id = readableText(transaction.txId);
  const fits = transaction.timestamp < TIMESTAMPTZ_END_MICROS;
  return `${[
    text(transaction.txHash),
    id === null ? NULL : text(id),
    tick.tickNumber,
    transaction.sequenceNumber,
    bytes(transaction.payload),
    bytes(transaction.signature),
    bytes(transaction.publicKey),
    transaction.nonce,
    fits ? timestampText(transaction.timestamp) : NULL,
    timestampText(tick.timestamp),
    timestampText(transaction.ingestionTimestamp),
    id === null ? bytes(transaction.txId) : NULL,
    fits ? NULL : transaction.timestamp,
  ].join('\t')}\n`;
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** null: not to be kept as text */
function readableText(raw: Buffer): string | null {
  if (raw.includes(0)) return null;
  try {
    return utf8.decode(raw);
  } catch {
    return null;
  }
}

const ESCAPES: Readonly<Record<string, string>> = {
  '\\': '\\\\',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\v': '\\v',
};

function text(value: string): string {
  return value.replace(/[\\\b\f\n\r\t\v]/g, (character) => ESCAPES[character] ?? character);
}

function bytes(value: Buffer): string {
  return `\\\\x${value.toString('hex')}`;
}

/** `2025-08-23 10:35:03.17836+00`: PostgreSQL leaves trailing zeros of the fraction out. */
function timestampText(micros: bigint): string {
  const seconds = micros / 1_000_000n;
  const fraction = `${micros % 1_000_000n}`.padStart(6, '0').replace(/0+$/, '');
  return `${secondText(seconds)}${fraction === '' ? '' : '.'}${fraction}+00`;
}

let lastSecond = -1n;
let lastSecondText = '';

/** Neighbouring ticks have the same second. */
function secondText(seconds: bigint): string {
  if (seconds !== lastSecond) {
    lastSecond = seconds;
    lastSecondText = isoSecond(seconds).replace('T', ' ');
  }
  return lastSecondText;
}

const SECONDS_OF_400_YEARS = 12_622_780_800n;

/** A Date ends with the year 275760, timestamptz with 294276: the calendar repeats every 400 years. */
function isoSecond(seconds: bigint): string {
  const cycles = seconds > SECONDS_OF_400_YEARS ? seconds / SECONDS_OF_400_YEARS : 0n;
  const iso = new Date(Number(seconds - cycles * SECONDS_OF_400_YEARS) * 1000).toISOString();
  const [year, rest] = [BigInt(iso.slice(0, 4)) + cycles * 400n, iso.slice(4, 19)];
  return `${`${year}`.padStart(4, '0')}${rest}`;
}
