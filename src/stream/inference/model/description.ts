/** What a model says of itself: the side file NAME.json beside NAME.onnx, or the property `mdp_model` in the model's own metadata. */
import { z } from 'zod';

export const FEATURES_MAX = 1_000;
const CLASSES_MAX = 100;

const text = z.string().min(1).max(200);

const schema = z
  .strictObject({
    name: z.string().regex(/^[!-{}~]{1,64}$/, 'must be 1-64 characters of 0x21-0x7E without |'),
    version: z.string().min(1).max(100),
    features: z.array(text).min(1).max(FEATURES_MAX).refine(isDistinct, 'has a name twice'),
    input: text.optional(),
    output: text,
    label_output: text.optional(),
    classes: z.array(z.number()).min(2).max(CLASSES_MAX).refine(isDistinct, 'has a class twice').optional(),
    digest: z
      .string()
      .regex(/^sha256:[0-9a-f]{64}$/, 'must be sha256: and 64 hex digits')
      .optional(),
    about: z.record(z.string(), z.unknown()).optional(),
  })
  .refine(
    ({ label_output, classes }) => label_output === undefined || classes !== undefined,
    'has label_output, which only a classifier has, and no classes',
  );

export interface ModelDescription {
  /** of its signals */
  readonly name: string;
  readonly version: string;
  /** of the columns of its input, in order */
  readonly features: readonly string[];
  /** null: the only input it has */
  readonly input: string | null;
  /** of a classifier: the probabilities, one for each class; otherwise the number itself */
  readonly output: string;
  /** of a classifier: its decision; null: the class with the highest probability */
  readonly labelOutput: string | null;
  /** of a classifier, in the order of the probabilities; null: a regression */
  readonly classes: readonly number[] | null;
  /** of the model file, `sha256:` and hex; null: not said */
  readonly digest: string | null;
}

/** @throws RangeError with everything that is wrong, in one line */
export function parseDescription(json: string): ModelDescription {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (error) {
    throw new RangeError(`is not JSON: ${(error as Error).message}`, { cause: error });
  }
  const result = schema.safeParse(value);
  if (!result.success) throw new RangeError(result.error.issues.map(said).join('; '));
  const { name, version, features, input, output, label_output, classes, digest } = result.data;
  return {
    name,
    version,
    features,
    input: input ?? null,
    output,
    labelOutput: label_output ?? null,
    classes: classes ?? null,
    digest: digest ?? null,
  };
}

function said(issue: z.core.$ZodIssue): string {
  return issue.path.length === 0 ? issue.message : `${issue.path.join('.')}: ${issue.message}`;
}

function isDistinct(values: readonly unknown[]): boolean {
  return new Set(values).size === values.length;
}
