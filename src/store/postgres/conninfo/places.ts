import { DatabaseUrlError, type Keywords } from './keywords.ts';

/** A place where the server may be. */
export interface Place {
  /** a name, an address, or the folder of a unix socket; what a certificate and the password file know it by */
  host: string;
  /** where it is, without a look-up of `host` */
  hostaddr: string | null;
  port: number;
}

const PORT = '5432';

/** host, hostaddr and port: lists of one length, except that a single port counts for all. @throws DatabaseUrlError */
export function readPlaces(keywords: Keywords): [Place, ...Place[]] {
  const [hosts, addresses, ports] = ['host', 'hostaddr', 'port'].map((keyword) =>
    (keywords.get(keyword) ?? '').split(','),
  );
  const count = Math.max(hosts.length, addresses.length);
  for (const list of [hosts, addresses]) {
    if (list.length !== count && list.join('') !== '')
      throw new DatabaseUrlError(`has ${addresses.length} hostaddr for ${hosts.length} hosts`);
  }
  if (ports.length > 1 && ports.length !== count)
    throw new DatabaseUrlError(`has ${ports.length} ports for ${count} hosts`);
  const places = Array.from({ length: count }, (_, at): Place => {
    const hostaddr = nonEmpty(addresses[at]);
    const host = nonEmpty(hosts[at]) ?? hostaddr ?? 'localhost';
    if (host.startsWith('@'))
      throw new DatabaseUrlError('has an abstract unix socket as host, which is not supported');
    return { host, hostaddr, port: portOf(nonEmpty(ports.length > 1 ? ports[at] : ports[0]) ?? PORT) };
  });
  return places as [Place, ...Place[]];
}

function portOf(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  if (!(port >= 1 && port <= 65_535))
    throw new DatabaseUrlError('is no valid URL: its port is not a number from 1 to 65535');
  return port;
}

function nonEmpty(text: string | undefined): string | null {
  return text === undefined || text === '' ? null : text;
}
