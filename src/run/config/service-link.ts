/** Variables that Kubernetes and docker links set in every container beside a service, some of them under names of ours. */

/** NAME_PORT of a service NAME, such as tcp://10.96.0.12:8083 or udp://[fd00::1]:53 */
const ADDRESS = /^(?:tcp|udp|sctp):\/\/\S+$/i;

/**
 * Whether a value of the environment is the address of a service called `api`, `metrics` or `health-check` and not a port
 * that somebody chose. It counts as unset: otherwise the name of another service would decide whether this one starts.
 */
export function isServiceLink(name: string, value: string): boolean {
  return name.endsWith('_PORT') && ADDRESS.test(value);
}
