/** A living member of a group and how many partitions it holds. */
export interface Holder {
  name: string;
  held: number;
}

/**
 * How many of `partitions` each member should hold: shares differ by one at most, and the larger ones go to those who hold
 * more already (then by name), so that a member that joins or leaves moves as few partitions as can be.
 */
export function fairShares(partitions: number, members: readonly Holder[]): Map<string, number> {
  const least = Math.floor(partitions / members.length);
  const larger = partitions - least * members.length;
  const ranked = members.toSorted((a, b) => b.held - a.held || (a.name < b.name ? -1 : 1));
  return new Map(ranked.map(({ name }, rank) => [name, rank < larger ? least + 1 : least]));
}
