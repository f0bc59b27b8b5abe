/** PROVE=full: the sizes of the acceptance run (make prove-ingest). Otherwise about 1/50 of them. */
export const isFull = process.env['PROVE'] === 'full';

export function scaled<T>(normal: T, full: T): T {
  return isFull ? full : normal;
}
