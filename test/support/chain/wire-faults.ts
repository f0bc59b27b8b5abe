import { MALFORMED_FORMS, REWRITE_BACK } from '../../../src/sim/fault.ts';

/** Faults of the simulator's streams that hit every n-th tick, and what has to become of the ticks they hit. */
export interface WireFaults {
  /** left out of the stream; GetTick has it */
  gap: bigint;
  /** left out, and GetTick does not have it either; 0n = none */
  gapForever: bigint;
  duplicate: bigint;
  swap: bigint;
  /** the tick REWRITE_BACK below comes again, with other content */
  rewrite: bigint;
  /** a bad frame in its place, in each form in turn; GetTick has the good one */
  malformed: bigint;
  /** the same with a tx_hash that is none, in GetTick as well; 0n = none */
  malformedForever: bigint;
}

/**
 * What the daemon must make of a number, whatever else happens.
 *
 *   stored      it came, or GetTick had it; also where a bad frame came in its place
 *   bad         a dead letter in its place, as GetTick has nothing better
 *   unfillable  a gap that was given up
 */
export type EventOutcome = 'stored' | 'bad' | 'unfillable';

/** What the parser says of each form. */
export const REASONS: Readonly<Record<string, string>> = {
  truncated: 'malformed_frame',
  'wire-type': 'malformed_frame',
  'batch-hash': 'batch_hash_not_hex',
  'tx-hash': 'tx_hash_not_hex',
  timestamp: 'time_out_of_range',
  number: 'number_out_of_range',
  iterations: 'iterations_out_of_range',
  sequence: 'duplicate_sequence',
  'previous-output': 'previous_output_not_hex',
  nul: 'batch_hash_not_hex',
};
/** their number cannot be used: they stand for no tick, and the missing number is a gap */
const UNNUMBERED: ReadonlySet<string> = new Set(['truncated', 'wire-type', 'number']);

/**
 * All of them multiples of ten, so that what is rewritten, five below, is hit by nothing else. No tick of the chain should
 * be malformed and swapped: a frame without a number counts as what follows the highest number before it.
 * @throws RangeError
 */
export function wireFaults(faults: WireFaults): WireFaults {
  for (const [name, every] of Object.entries(faults) as [string, bigint][]) {
    if (every % 10n !== 0n) throw new RangeError(`${name}: ${every} is no multiple of ten`);
  }
  return faults;
}

export function simFaults(faults: WireFaults): string[] {
  const texts = [
    `gap:${faults.gap}`,
    `duplicate:${faults.duplicate}`,
    `swap:${faults.swap}`,
    `rewrite:${faults.rewrite}`,
    `malformed:${faults.malformed}`,
    ...(faults.gapForever > 0n ? [`gap-forever:${faults.gapForever}`] : []),
    ...(faults.malformedForever > 0n ? [`malformed-forever:${faults.malformedForever}:tx-hash`] : []),
  ];
  return texts.flatMap((text) => ['--fault', text]);
}

function hits(every: bigint, number: bigint): boolean {
  return every > 0n && number % every === 0n;
}

export function isLeftOut(faults: WireFaults, number: bigint): boolean {
  return hits(faults.gap, number) || hits(faults.gapForever, number);
}

/** The form of the bad frame that the stream carries in its place; null when it carries none. */
export function formOf(faults: WireFaults, number: bigint): string | null {
  if (isLeftOut(faults, number)) return null;
  if (hits(faults.malformedForever, number)) return 'tx-hash';
  if (!hits(faults.malformed, number)) return null;
  return MALFORMED_FORMS[Number((number / faults.malformed) % BigInt(MALFORMED_FORMS.length))];
}

export function isUnnumbered(form: string): boolean {
  return UNNUMBERED.has(form);
}

export function fateOf(faults: WireFaults, number: bigint): EventOutcome {
  if (hits(faults.gapForever, number)) return 'unfillable';
  if (hits(faults.malformedForever, number)) return 'bad';
  return 'stored';
}

/** A tick of this number comes a second time with other content, after it. */
export function isRewritten(faults: WireFaults, number: bigint): boolean {
  const by = number + REWRITE_BACK;
  return hits(faults.rewrite, by) && !isLeftOut(faults, by);
}

/** All numbers from first to last that fit. */
export function numbersThat(first: bigint, last: bigint, fits: (number: bigint) => boolean): bigint[] {
  const found: bigint[] = [];
  for (let number = first; number <= last; number++) if (fits(number)) found.push(number);
  return found;
}
