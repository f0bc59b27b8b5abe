/**
 * The identity of an event. `srcTs` has six decimals and Z. Providers and symbols cannot contain `|`, so two events
 * share an id only if they agree in all of its parts.
 */
export function eventIdOf(
  provider: string,
  symbol: string,
  srcTs: string,
  seq: bigint,
  interval: string | null,
): string {
  const id = `${provider}|${symbol}|${srcTs}|${seq}`;
  return interval === null ? id : `${id}|${interval}`;
}
