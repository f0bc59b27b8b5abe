import type { Client } from 'pg';
import { readPasswordFile } from '../conninfo/password-file.ts';
import type { Place } from '../conninfo/places.ts';
import type { ConnectOptions } from '../database-url.ts';
import { ConnectError, targetOf } from './failure.ts';

const BOUND = 'SCRAM-SHA-256-PLUS';

/** What a server asked of us before it let us in. */
export class Authentication {
  readonly #options: ConnectOptions;
  readonly #place: Place;
  /** SASL mechanisms that the server offers; none where it asks for the password in another way, or not at all */
  #offered: readonly string[] = [];

  constructor(options: ConnectOptions, place: Place) {
    this.#options = options;
    this.#place = place;
  }

  /** Before connecting: our listener must be called before pg's. */
  watch(client: Client): void {
    client.connection.on('authenticationSASL', ({ mechanisms }: { mechanisms: string[] }) => {
      this.#offered = mechanisms;
    });
  }

  /** Called when the server asks for it, and before anything is answered. @throws ConnectError */
  password(): string {
    this.#checkBinding();
    const { password, passwordFile } = this.#options;
    const given = password();
    if (given !== null) return given;
    const found = passwordFile === null ? null : readPasswordFile(passwordFile, this.#place, this.#options);
    if (found !== null && found.password !== null) return found.password;
    const reason = found?.reason ?? null;
    throw this.#error(
      `the server asks for a password and none is given${reason === null ? '' : ` (${reason})`}`,
    );
  }

  /** The server let us in, possibly without having asked for anything. @throws ConnectError */
  checkDone(): void {
    this.#checkBinding();
  }

  #checkBinding(): void {
    if (this.#options.requiresChannelBinding && !this.#offered.includes(BOUND))
      throw this.#error('channel_binding=require, but the server does not offer it');
  }

  #error(message: string): ConnectError {
    return new ConnectError('password', undefined, `${targetOf(this.#options, this.#place)}: ${message}`);
  }
}
