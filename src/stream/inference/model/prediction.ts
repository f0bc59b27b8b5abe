/** Why a model gave no prediction: labels of model_failures_total. */
export const FAILURES = [
  'timeout',
  'died',
  'threw',
  'not_finite',
  'wrong_shape',
  'queue_full',
  'stopped',
] as const;
export type FailureKind = (typeof FAILURES)[number];

export class PredictionError extends Error {
  override name = 'PredictionError';
  readonly kind: FailureKind;

  constructor(kind: FailureKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
  }
}

/** What a model says of n rows. */
export interface Outputs {
  /** n: the class, or the number of a regression; finite */
  readonly values: Float64Array;
  /** n × classes; null of a regression */
  readonly probabilities: Float64Array | null;
}
