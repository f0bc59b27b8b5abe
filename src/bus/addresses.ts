import { getDefaultAutoSelectFamilyAttemptTimeout, setDefaultAutoSelectFamilyAttemptTimeout } from 'node:net';

/**
 * Gives each address of a name its share of the time for connecting. Node gives up one that has not answered after 250 ms and
 * never comes back to it: of a name with a slow IPv4 address and an IPv6 one without a route neither is reached. The clients of
 * Redis and Kafka open their sockets themselves, so it is set for this thread; what another part of the program made longer stays.
 */
export function shareTimeAmongAddresses(connectTimeoutMs: number): void {
  // names have two, as a rule
  const shareMs = connectTimeoutMs / 2;
  if (getDefaultAutoSelectFamilyAttemptTimeout() < shareMs) setDefaultAutoSelectFamilyAttemptTimeout(shareMs);
}
