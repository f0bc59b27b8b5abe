import { EVENT_TIME_END_US, EVENT_TIME_FIRST_US } from '../market/event-time.ts';
import { symbolProblem, upperCased } from '../market/identity/symbol.ts';
import { intervalName, parseInterval } from '../market/interval.ts';
import { formatMicros, parseIsoMicros, type Micros } from '../time.ts';
import { ReplayRefused } from './refusal.ts';

/** The tables that a replay reads; at one time, ticks come in this order. */
export const REPLAY_SOURCES = ['tick_data', 'md_ticks', 'bars'] as const;
export type ReplaySource = (typeof REPLAY_SOURCES)[number];

/** Everything that is stored of these providers and symbols in [startUs, endUs). */
export interface ReplayRequest {
  /** sorted by their bytes, each once */
  providers: readonly string[];
  symbols: readonly string[];
  /** in the order of REPLAY_SOURCES */
  sources: readonly ReplaySource[];
  /** of the source bars; null: it is not among them */
  interval: string | null;
  /** µs since 1970 */
  startUs: Micros;
  endUs: Micros;
  /** 1 is as it was, 10 ten times as fast; 0 as fast as the bus takes them */
  speed: number;
  /** rows that are read at once */
  pageRows: number;
  /** null: that of market events */
  topic: string | null;
  /** live bars that are missing, or have fewer ticks, are made of it */
  repair: boolean;
}

/** A request as it is written: in JSON, in a dataset, or made of options. Names as in the API. */
export interface ReplayFields {
  provider?: string | undefined;
  providers?: readonly string[] | undefined;
  symbols?: readonly string[] | undefined;
  start?: string | undefined;
  end?: string | undefined;
  speed?: number | undefined;
  sources?: readonly string[] | undefined;
  interval?: string | undefined;
  max_batch_size?: number | undefined;
  topic?: string | undefined;
  repair?: boolean | undefined;
}

export const PAGE_ROWS = 20_000;
export const PAGE_ROWS_MAX = 100_000;
export const SPEED_MAX = 1_000_000;
/** A page is one statement with a branch for each provider and symbol. */
export const SERIES_MAX = 1_000;

/** Topics that hold something else than market events. */
const TAKEN_TOPIC = /^(mdp\.signals|mdp\.events\.dlq|ticks\.received)$/;
const TOPIC = /^[A-Za-z0-9._-]{1,200}$/;
const PROVIDER = /^[!-{}~]{1,64}$/;

function bad(field: string, problem: string): never {
  throw new ReplayRefused({ kind: 'bad_field', field, problem });
}

/** @throws ReplayRefused bad_field, for the first field that is not as it must be */
export function readRequest(fields: ReplayFields): ReplayRequest {
  const { provider, providers, speed = 1, repair = false, topic } = fields;
  if (provider !== undefined && providers !== undefined) bad('providers', 'is given together with provider');
  const named = providers ?? (provider === undefined ? [] : [provider]);
  if (named.length === 0) bad('provider', 'is missing');
  for (const name of named)
    if (!PROVIDER.test(name)) bad('provider', 'must be 1-64 characters of 0x21-0x7E without |');
  const symbols = (fields.symbols ?? []).map((symbol) => symbolOf(symbol));
  if (symbols.length === 0) bad('symbols', 'is missing');
  const sources = sourcesOf(fields.sources ?? ['tick_data']);
  const request: ReplayRequest = {
    providers: inOrder(named),
    symbols: inOrder(symbols),
    sources,
    interval: intervalOf(fields.interval, sources),
    ...rangeOf(fields.start, fields.end),
    speed: checkSpeed(speed),
    pageRows: pageRowsOf(fields.max_batch_size),
    topic: topic ?? null,
    repair,
  };
  if (request.providers.length * request.symbols.length > SERIES_MAX)
    bad('symbols', `are too many: providers times symbols is at most ${SERIES_MAX}`);
  if (topic !== undefined && !TOPIC.test(topic))
    bad('topic', 'must be 1-200 letters, digits, dots, hyphens, underscores');
  if (topic !== undefined && TAKEN_TOPIC.test(topic)) bad('topic', `${topic} is not for market events`);
  if (repair && topic !== undefined) bad('repair', 'needs the topic of market events');
  return request;
}

/** The same as fields: readRequest() restores it. */
export function requestFields(request: ReplayRequest): ReplayFields & { start: string; end: string } {
  const { providers, symbols, sources, interval, startUs, endUs, speed, pageRows, topic, repair } = request;
  return {
    providers,
    symbols,
    sources,
    start: formatMicros(startUs),
    end: formatMicros(endUs),
    speed,
    max_batch_size: pageRows,
    repair,
    ...(interval === null ? {} : { interval }),
    ...(topic === null ? {} : { topic }),
  };
}

/** @throws ReplayRefused bad_field */
export function checkSpeed(speed: number): number {
  if (!(speed >= 0 && speed <= SPEED_MAX))
    bad('speed', `must be a number from 0 (as fast as possible) to ${SPEED_MAX}`);
  return speed;
}

/** @throws ReplayRefused bad_field, also for a time out of [2000, 2100) */
export function readTime(field: string, text: string | undefined): Micros {
  if (text === undefined) bad(field, 'is missing');
  let micros: Micros;
  try {
    micros = parseIsoMicros(text);
  } catch {
    return bad(field, 'must be an ISO-8601 time such as 2025-11-03T14:00:00Z');
  }
  if (micros < EVENT_TIME_FIRST_US || micros > EVENT_TIME_END_US)
    bad(field, 'must be within the years 2000 to 2099');
  return micros;
}

function rangeOf(start: string | undefined, end: string | undefined): { startUs: Micros; endUs: Micros } {
  const startUs = readTime('start', start);
  const endUs = readTime('end', end);
  if (startUs >= endUs) bad('start', 'must be before end');
  return { startUs, endUs };
}

function symbolOf(text: string): string {
  const name = upperCased(text);
  const problem = symbolProblem(name);
  if (problem !== null) bad('symbols', `holds one that ${problem}`);
  return name;
}

function sourcesOf(names: readonly string[]): ReplaySource[] {
  const unknown = names.filter((name) => !REPLAY_SOURCES.some((source) => source === name));
  if (unknown.length > 0 || names.length === 0) bad('sources', `must be of ${REPLAY_SOURCES.join(', ')}`);
  return REPLAY_SOURCES.filter((source) => names.includes(source));
}

function intervalOf(text: string | undefined, sources: readonly ReplaySource[]): string | null {
  if (!sources.includes('bars')) {
    if (text !== undefined) bad('interval', 'belongs to the source bars');
    return null;
  }
  if (text === undefined) bad('interval', 'is missing: which bars, such as 1m');
  const ms = parseInterval(text);
  return ms === null ? bad('interval', 'must be such as 2s, 1m, 5m, 1h, 1d') : intervalName(ms);
}

function pageRowsOf(rows = PAGE_ROWS): number {
  if (!(Number.isInteger(rows) && rows >= 1 && rows <= PAGE_ROWS_MAX))
    bad('max_batch_size', `must be a whole number from 1 to ${PAGE_ROWS_MAX}`);
  return rows;
}

/** Sorted by their bytes in UTF-8, as the collation "C" does; each once. */
function inOrder(names: readonly string[]): string[] {
  return [...new Set(names)].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
}
