/**
 * The identity of an event. `srcTs` has six decimals and Z. Neither a provider nor a symbol can hold `|`, so no two
 * events share an id unless they agree in all of its parts.
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
