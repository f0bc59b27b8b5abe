export interface StallFault {
  kind: 'stall' | 'stall-all';
  at: bigint;
  ms: number;
}

export interface ForkFault {
  kind: 'fork';
  at: bigint;
  back: number;
}

export interface OversizeFault {
  kind: 'oversize';
  every: bigint;
  bytes: number;
}

/** What GetTick does wrong for every N-th tick, as often as `times` says. */
export interface GetFault {
  kind: 'get-fail' | 'get-late' | 'get-other' | 'get-bad';
  every: bigint;
  times: number;
}

export interface HoleFault {
  kind: 'hole';
  first: bigint;
  last: bigint;
}

/** The faults of `--fault`, what their texts mean, and which ticks they hit. N is a tick number or a count of ticks. */
export type Fault =
  | StallFault
  | { kind: 'cut'; every: bigint }
  | { kind: 'duplicate' | 'gap' | 'gap-forever' | 'swap' | 'rewrite'; every: bigint }
  | {
      kind: 'malformed' | 'malformed-forever' | 'copy-before' | 'copy-after';
      every: bigint;
      form: MalformedForm | null;
    }
  | { kind: 'untrue'; every: bigint; form: UntrueForm | null }
  | { kind: 'late'; every: bigint; by: bigint }
  | { kind: 'get-slow'; ms: number }
  | HoleFault
  | GetFault
  | ForkFault
  | OversizeFault;

export const MALFORMED_FORMS = [
  'truncated',
  'wire-type',
  'batch-hash',
  'tx-hash',
  'timestamp',
  'number',
  'iterations',
  'sequence',
  'previous-output',
  'nul',
] as const;
export type MalformedForm = (typeof MALFORMED_FORMS)[number];

/** false statements in a tick, well formed but contradicting its content */
export const UNTRUE_FORMS = ['link', 'tx-hash', 'batch-hash', 'vdf-input', 'vdf-output'] as const;
export type UntrueForm = (typeof UNTRUE_FORMS)[number];

/** a rewrite resends the tick this many numbers below */
export const REWRITE_BACK = 5n;
const FORK_BACK_DEFAULT = 100;
const STALL_MS_MAX = 86_400_000;
/** more than any client asks */
const TIMES_MAX = 1e9;
const OVERSIZE_BYTES_MAX = 512 * 1024 * 1024;

export const FAULT_HELP = `Faults (--fault, as often as you like; "every N-th tick" are those whose number N divides):
  cut:N                    ends each stream with UNAVAILABLE once it has sent N ticks
  duplicate:N              every N-th tick is sent twice
  gap:N                    every N-th tick is left out of the stream; GetTick has it
  gap-forever:N            ... and GetTick says found=false
  hole:FIRST:LAST          streams that come to FIRST leave out all ticks up to LAST; those that begin in between do not
  late:N:BY                every N-th tick comes after the tick that is BY numbers higher
  swap:N                   every N-th tick comes after the next one
  malformed:N[:FORM]       in place of every N-th tick the stream carries a bad one; GetTick has the good one
                           FORM: ${MALFORMED_FORMS.slice(0, 6).join(', ')},
                           ${MALFORMED_FORMS.slice(6).join(', ')} (default: one after the other)
  malformed-forever:N[:FORM]  ... and GetTick has the bad one
  copy-before:N[:FORM]     the stream carries a bad copy of every N-th tick right before it
  copy-after:N[:FORM]      ... right behind it
  untrue:N[:FORM]          every N-th tick states something false, in stream and GetTick; it is well formed
                           FORM: ${UNTRUE_FORMS.join(', ')} (default: one after the other)
  rewrite:N                after every N-th tick, tick number - ${REWRITE_BACK} comes again with other content
  fork:N[:BACK]            once a stream gets to tick N, the chain from N - BACK (default ${FORK_BACK_DEFAULT}) on is another one,
                           its head BACK/2 ticks long at first: open streams go on at N - BACK
  stall:N:MS               the first stream that gets to tick N stays open and silent for MS milliseconds
  stall-all:N:MS           from then on no stream gets tick N or later for MS milliseconds
  get-fail:N[:TIMES]       GetTick of every N-th tick fails with UNAVAILABLE, the first TIMES times (default: always)
  get-late:N[:TIMES]       ... says found=false
  get-other:N[:TIMES]      ... answers with the tick after it
  get-bad:N[:TIMES]        ... answers with a bad copy
  get-slow:MS              GetTick answers after MS milliseconds
  oversize:N:BYTES         every N-th tick carries a transaction with a payload of BYTES (in GetTick, too)`;

/**
 * @param text such as `malformed:100:tx-hash`
 * @throws RangeError that says what is wrong with it
 */
export function parseFault(text: string): Fault {
  const [kind, ...args] = text.split(':');
  switch (kind) {
    case 'cut':
    case 'duplicate':
    case 'gap':
    case 'gap-forever':
    case 'swap':
    case 'rewrite':
      expectArguments(text, args, 1, 1);
      return { kind, every: positive(text, args[0]) };
    case 'malformed':
    case 'malformed-forever':
    case 'copy-before':
    case 'copy-after':
      expectArguments(text, args, 1, 2);
      return {
        kind,
        every: positive(text, args[0]),
        form: args[1] === undefined ? null : formOf(text, args[1], MALFORMED_FORMS),
      };
    case 'untrue':
      expectArguments(text, args, 1, 2);
      return {
        kind,
        every: positive(text, args[0]),
        form: args[1] === undefined ? null : formOf(text, args[1], UNTRUE_FORMS),
      };
    case 'fork':
      expectArguments(text, args, 1, 2);
      return {
        kind,
        at: positive(text, args[0]),
        back: upTo(text, args[1] ?? `${FORK_BACK_DEFAULT}`, 1e9, 2),
      };
    case 'stall':
    case 'stall-all':
      expectArguments(text, args, 2, 2);
      return { kind, at: positive(text, args[0]), ms: upTo(text, args[1], STALL_MS_MAX) };
    case 'hole':
      expectArguments(text, args, 2, 2);
      return { kind, first: positive(text, args[0]), last: positive(text, args[1]) };
    case 'late':
      expectArguments(text, args, 2, 2);
      return { kind, every: positive(text, args[0]), by: positive(text, args[1]) };
    case 'get-slow':
      expectArguments(text, args, 1, 1);
      return { kind, ms: upTo(text, args[0], STALL_MS_MAX) };
    case 'get-fail':
    case 'get-late':
    case 'get-other':
    case 'get-bad':
      expectArguments(text, args, 1, 2);
      return {
        kind,
        every: positive(text, args[0]),
        times: upTo(text, args[1] ?? `${TIMES_MAX}`, TIMES_MAX),
      };
    case 'oversize':
      expectArguments(text, args, 2, 2);
      return { kind, every: positive(text, args[0]), bytes: upTo(text, args[1], OVERSIZE_BYTES_MAX) };
    default:
      throw new RangeError(`unknown fault ${JSON.stringify(text)}; --help lists them`);
  }
}

function expectArguments(text: string, args: readonly string[], least: number, most: number): void {
  if (args.length >= least && args.length <= most) return;
  const wanted = least === most ? `${least}` : `${least} or ${most}`;
  throw new RangeError(`fault ${JSON.stringify(text)} takes ${wanted} values after its name; see --help`);
}

function positive(text: string, value: string): bigint {
  if (!/^[1-9]\d{0,18}$/.test(value)) {
    throw new RangeError(
      `fault ${JSON.stringify(text)}: ${JSON.stringify(value)} is no whole number above 0`,
    );
  }
  return BigInt(value);
}

function upTo(text: string, value: string, most: number, least = 1): number {
  const number = positive(text, value);
  if (number < BigInt(least) || number > BigInt(most)) {
    throw new RangeError(`fault ${JSON.stringify(text)}: ${value} is not between ${least} and ${most}`);
  }
  return Number(number);
}

function formOf<T extends string>(text: string, value: string, forms: readonly T[]): T {
  const form = forms.find((known) => known === value);
  if (form !== undefined) return form;
  throw new RangeError(`fault ${JSON.stringify(text)}: the form is one of ${forms.join(', ')}`);
}
