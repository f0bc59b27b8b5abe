/** Why an export cannot be done as it was asked for. */
export type ExportProblem =
  /** nothing is known of it */
  | 'unknown_symbol'
  /** the folder has files of something else */
  | 'not_empty'
  /** it is of other rows, another cluster or another history */
  | 'manifest'
  /** what is as of that time may still change */
  | 'not_settled'
  /** the rows of the manifest are not all there any more */
  | 'differs';

export class ExportError extends Error {
  override name = 'ExportError';
  readonly kind: ExportProblem;

  constructor(kind: ExportProblem, message: string) {
    super(message);
    this.kind = kind;
  }
}
