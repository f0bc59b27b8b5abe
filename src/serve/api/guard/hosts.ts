import { isIP } from 'node:net';

/** A host as a browser writes it: lower case, addresses in their short form, IPv6 in brackets. */
interface Authority {
  name: string;
  /** '' is the port of the scheme */
  port: string;
}

const ALL_ADDRESSES = new Set(['0.0.0.0', '[::]']);
const LETTERS = /^[A-Za-z0-9._:[\]-]+$/;

/**
 * The Host headers that are answered. A page of another site whose name was made to lead to this machine (DNS rebinding) still
 * sends its own name.
 */
export class AllowedHosts {
  readonly #given: readonly Authority[];
  readonly #own: readonly string[];
  readonly #isLocal: boolean;

  /**
   * @param address that is listened on
   * @param given names with or without a port, in place of the default: the address and the names of this machine for itself
   */
  constructor(address: string, given: readonly string[] | null) {
    this.#given = (given ?? []).flatMap((text) => authorityOf(text) ?? []);
    const own = authorityOf(isIP(address) === 6 ? `[${address}]` : address);
    this.#own = given === null && own !== null && !ALL_ADDRESSES.has(own.name) ? [own.name] : [];
    this.#isLocal = given === null;
  }

  /** @param localAddress that the connection came to: as a number it can be no name of another site, so it is answered */
  allows(host: string, localAddress: string | undefined): boolean {
    const asked = authorityOf(host);
    if (asked === null) return false;
    if (this.#given.some((entry) => matches(entry, asked))) return true;
    if (this.#own.includes(asked.name) || (this.#isLocal && isOfThisMachine(asked.name))) return true;
    return localAddress !== undefined && asked.name === nameOfAddress(localAddress);
  }

  /** Whether a page of `origin` may change something or open a WebSocket: one of this server, or of a host given by the operator. */
  allowsOrigin(origin: string, host: string): boolean {
    const page = URL.canParse(origin) ? new URL(origin) : null;
    if (page === null || !/^https?:$/.test(page.protocol)) return false;
    const from = { name: page.hostname, port: page.port };
    const asked = authorityOf(host);
    if (asked !== null && from.name === asked.name && from.port === asked.port) return true;
    return this.#given.some((entry) => matches(entry, from));
  }
}

/** null: nothing that a client would write */
function authorityOf(text: string): Authority | null {
  if (!LETTERS.test(text)) return null;
  const url = URL.parse(`http://${isIP(text) === 6 ? `[${text}]` : text}`);
  if (url === null || url.hostname === '') return null;
  return { name: url.hostname.replace(/\.$/, ''), port: url.port };
}

function matches(entry: Authority, asked: Authority): boolean {
  return entry.name === asked.name && (entry.port === '' || entry.port === asked.port);
}

/** localhost and what is below it, 127.0.0.0/8 and ::1. */
function isOfThisMachine(name: string): boolean {
  return /^(.+\.)?localhost$/.test(name) || (isIP(name) === 4 && name.startsWith('127.')) || name === '[::1]';
}

function nameOfAddress(address: string): string | null {
  const bare = address.replace(/^::ffff:(?=\d+\.)/i, '').replace(/%.*$/, '');
  return authorityOf(isIP(bare) === 6 ? `[${bare}]` : bare)?.name ?? null;
}
