/** A position in each partition, as the bus writes it; null: before the first record. */
export type Vector = readonly (string | null)[];

export type Compare = (a: string, b: string) => number;

/** Order of two positions of one partition. */
export function comparePlaces(compare: Compare, a: string | null, b: string | null): number {
  if (a === null || b === null) return a === b ? 0 : a === null ? -1 : 1;
  return compare(a, b);
}

/** Nothing of `a` lies before `b`. */
export function isAtLeast(compare: Compare, a: Vector, b: Vector): boolean {
  return a.every((place, partition) => comparePlaces(compare, place, b[partition] ?? null) >= 0);
}

/** The later one of each partition. */
export function latest(compare: Compare, a: Vector, b: Vector): Vector {
  return a.map((place, partition) => {
    const other = b[partition] ?? null;
    return comparePlaces(compare, place, other) >= 0 ? place : other;
  });
}
