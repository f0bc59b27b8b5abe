/** Why something about replays was not done: what the command line prints and the API answers. */
export type Refusal =
  /** a field of the request is not as it must be */
  | { kind: 'bad_field'; field: string; problem: string }
  /** no source of the request has ticks of them */
  | { kind: 'unknown_symbols'; symbols: readonly string[]; providers: readonly string[] }
  | { kind: 'unknown_dataset'; name: string; known: readonly string[] }
  | { kind: 'unknown_run'; runId: bigint }
  | { kind: 'unknown_schedule'; name: string }
  /** the run is in a state that has no such change */
  | { kind: 'wrong_state'; runId: bigint; status: string; action: string }
  /** there is a schedule of this name */
  | { kind: 'name_taken'; name: string }
  /** so many runs are open already */
  | { kind: 'too_many'; openMax: number };

export type RefusalKind = Refusal['kind'];

/** One sentence for people. */
export function refusalText(refusal: Refusal): string {
  switch (refusal.kind) {
    case 'bad_field':
      return `${refusal.field} ${refusal.problem}`;
    case 'unknown_symbols':
      return `nothing is stored of ${refusal.symbols.join(', ')} from ${refusal.providers.join(', ')}`;
    case 'unknown_dataset':
      return refusal.known.length === 0
        ? `there is no dataset ${refusal.name}: the configuration names none`
        : `there is no dataset ${refusal.name}; known are ${refusal.known.join(', ')}`;
    case 'unknown_run':
      return `there is no replay ${refusal.runId}`;
    case 'unknown_schedule':
      return `there is no schedule ${refusal.name}`;
    case 'wrong_state':
      return `replay ${refusal.runId} is ${refusal.status}: it cannot ${refusal.action}`;
    case 'name_taken':
      return `there is a schedule ${refusal.name} already`;
    case 'too_many':
      return `${refusal.openMax} replays are open already: wait for one to end, or cancel it`;
  }
}

/** Thrown where a replay is asked for or changed. */
export class ReplayRefused extends Error {
  override name = 'ReplayRefused';
  readonly refusal: Refusal;

  constructor(refusal: Refusal) {
    super(refusalText(refusal));
    this.refusal = refusal;
  }
}
