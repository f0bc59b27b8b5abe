import { setTimeout as delay } from 'node:timers/promises';
import type { Program } from '../../support/run/program.ts';
import { freePort } from '../../support/servers/free-port.ts';
import { until } from '../../support/until.ts';
import type { BusHarness } from '../bus/harness.ts';

/** What the servers of these runs are shown. */
export const TOKEN = 'prove-0123456789abcdef0123456789abcdef';

const RETRY_MS = 20;
const REQUEST_MS = 10_000;

/** `mdp serve` as a process that is killed and started again on the same port. */
export class ServedApi {
  readonly url: string;
  readonly #harness: BusHarness;
  readonly #port: number;
  readonly #args: readonly string[];
  program: Program;

  private constructor(harness: BusHarness, port: number, args: readonly string[]) {
    this.#harness = harness;
    this.#port = port;
    this.#args = args;
    this.url = `http://127.0.0.1:${port}`;
    this.program = this.#spawn();
  }

  /** @param args of `mdp serve` */
  static async start(harness: BusHarness, args: readonly string[] = []): Promise<ServedApi> {
    const api = new ServedApi(harness, await freePort(), args);
    await api.untilServed();
    return api;
  }

  async untilServed(): Promise<void> {
    await until(
      'the API answers',
      () => {
        if (this.program.end !== null) throw new Error(`mdp serve ended\n${this.program.tail}`);
        return this.#answers();
      },
      { context: () => this.program.tail },
    );
  }

  /** POST of a JSON text until it is taken: what says 503, or does not answer, is sent again. Returns how often it was sent. */
  async ingest(body: string, onTry: () => void = () => {}): Promise<number> {
    for (let tries = 1; ; tries += 1) {
      onTry();
      const status = await this.post('/ingest/tick', body).catch(() => null);
      if (status === 200) return tries;
      if (status !== null && status !== 503 && status !== 429)
        throw new Error(`POST /ingest/tick was answered with ${status}\n${this.program.tail}`);
      if (this.program.end !== null) throw new Error(`mdp serve ended\n${this.program.tail}`);
      await delay(RETRY_MS);
    }
  }

  /** Resolves with the status. Rejects when there is no answer. */
  async post(path: string, body: string): Promise<number> {
    const response = await fetch(`${this.url}${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' },
      body,
      signal: AbortSignal.timeout(REQUEST_MS),
    });
    await response.arrayBuffer();
    return response.status;
  }

  async #answers(): Promise<boolean> {
    try {
      return (await fetch(`${this.url}/health`)).ok;
    } catch {
      return false;
    }
  }

  #spawn(): Program {
    return this.#harness.command(['serve', '--metrics-port', '0', ...this.#args], {
      API_PORT: String(this.#port),
      API_TOKEN: TOKEN,
    });
  }
}
