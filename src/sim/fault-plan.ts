import {
  MALFORMED_FORMS,
  UNTRUE_FORMS,
  type Fault,
  type ForkFault,
  type GetFault,
  type HoleFault,
  type MalformedForm,
  type StallFault,
  type UntrueForm,
} from './fault.ts';

const HITS_TICKS: ReadonlySet<Fault['kind']> = new Set<Fault['kind']>([
  'duplicate',
  'gap',
  'gap-forever',
  'hole',
  'late',
  'swap',
  'rewrite',
  'malformed',
  'malformed-forever',
  'copy-before',
  'copy-after',
  'untrue',
]);

/** What happens to one tick on its way into a stream. */
export interface TickFaults {
  gap: 'gap' | 'gap-forever' | 'hole' | 'late' | null;
  /** a tick left out before that comes after this one */
  late: bigint | null;
  swap: boolean;
  malformed: MalformedForm | null;
  /** bad copies beside the tick itself */
  copyBefore: MalformedForm | null;
  copyAfter: MalformedForm | null;
  untrue: UntrueForm | null;
  duplicate: boolean;
  rewrite: boolean;
}

/** Which faults hit a tick. Depends on its number alone, so it is the same after a reconnect. */
export class FaultPlan {
  /** a stream ends after this many ticks; Infinity without that fault */
  readonly cutEvery: number;
  readonly fork: ForkFault | null;
  readonly stalls: readonly StallFault[];
  readonly holes: readonly HoleFault[];
  readonly get: { faults: readonly GetFault[]; slowMs: number };
  /** whether single ticks are hit at all */
  readonly hitsTicks: boolean;
  readonly #faults: readonly Fault[];

  constructor(faults: readonly Fault[]) {
    this.#faults = faults;
    const cuts = faults.flatMap((fault) => (fault.kind === 'cut' ? [Number(fault.every)] : []));
    this.cutEvery = Math.min(...cuts, Infinity);
    this.fork = faults.find((fault) => fault.kind === 'fork') ?? null;
    this.stalls = faults.flatMap((fault) =>
      fault.kind === 'stall' || fault.kind === 'stall-all' ? [fault] : [],
    );
    this.holes = faults.filter((fault) => fault.kind === 'hole');
    this.get = {
      faults: faults.flatMap((fault) => ('times' in fault ? [fault] : [])),
      slowMs: Math.max(0, ...faults.map((fault) => (fault.kind === 'get-slow' ? fault.ms : 0))),
    };
    this.hitsTicks = faults.some(({ kind }) => HITS_TICKS.has(kind));
  }

  /** start: where the stream began. */
  at(number: bigint, start: bigint): TickFaults | null {
    let hit: TickFaults | null = null;
    for (const fault of this.#faults) {
      if (!hits(fault, number, start)) continue;
      hit ??= {
        gap: null,
        late: null,
        swap: false,
        malformed: null,
        copyBefore: null,
        copyAfter: null,
        untrue: null,
        duplicate: false,
        rewrite: false,
      };
      if (fault.kind === 'late') {
        if (number % fault.every === 0n) hit.gap = fault.kind;
        else hit.late = number - fault.by;
      } else if (fault.kind === 'gap' || fault.kind === 'gap-forever' || fault.kind === 'hole')
        hit.gap = fault.kind;
      else if (fault.kind === 'malformed' || fault.kind === 'malformed-forever')
        hit.malformed = formAt(fault, number, MALFORMED_FORMS);
      else if (fault.kind === 'copy-before') hit.copyBefore = formAt(fault, number, MALFORMED_FORMS);
      else if (fault.kind === 'copy-after') hit.copyAfter = formAt(fault, number, MALFORMED_FORMS);
      else if (fault.kind === 'untrue') hit.untrue = formAt(fault, number, UNTRUE_FORMS);
      else if (fault.kind === 'swap' || fault.kind === 'duplicate' || fault.kind === 'rewrite')
        hit[fault.kind] = true;
    }
    return hit;
  }

  /** Whether GetTick denies this tick. */
  lost(number: bigint): boolean {
    return this.#faults.some((fault) => fault.kind === 'gap-forever' && number % fault.every === 0n);
  }

  /** The malformed form GetTick answers with; null for a good answer. */
  malformedForever(number: bigint): MalformedForm | null {
    for (const fault of this.#faults) {
      if (fault.kind === 'malformed-forever' && number % fault.every === 0n)
        return formAt(fault, number, MALFORMED_FORMS);
    }
    return null;
  }
}

function hits(fault: Fault, number: bigint, start: bigint): boolean {
  if (!HITS_TICKS.has(fault.kind)) return false;
  if (fault.kind === 'hole') return start < fault.first && number >= fault.first && number <= fault.last;
  if (!('every' in fault)) return false;
  if (number % fault.every === 0n) return true;
  // only ticks that this stream left out
  return fault.kind === 'late' && number - fault.by >= start && (number - fault.by) % fault.every === 0n;
}

function formAt<T>(fault: { every: bigint; form: T | null }, number: bigint, forms: readonly T[]): T {
  return fault.form ?? forms[Number((number / fault.every) % BigInt(forms.length))];
}
