import { z } from 'zod';
import { pickleAdvice } from '../../../stream/inference/model/file.ts';

/** inference.adapters.onnx; sklearn is the same for a model that `mdp models convert` made. Durations in ms. */
export function adapterOfModel(timeout: z.ZodType<number>, resetAfter: z.ZodType<number>) {
  return z
    .strictObject({
      enabled: z.boolean().default(false),
      model_path: z
        .string()
        .superRefine((path, context) => {
          const advice = pickleAdvice(path);
          if (advice !== null) context.addIssue({ code: 'custom', message: advice });
        })
        .default(''),
      timeout: timeout.prefault('1s'),
      workers: z.int().min(1).max(64).default(1),
      reset_after: resetAfter.prefault('10s'),
      label: z.string().optional(),
      threshold: z.number().min(0).optional(),
    })
    .refine(({ enabled, model_path }) => !enabled || model_path !== '', 'is enabled and has no model_path');
}
