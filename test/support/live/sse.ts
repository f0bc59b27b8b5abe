import { request, type ClientRequest } from 'node:http';

export interface SseEvent {
  id: string;
  event: string;
  data: string;
}

/** A client of /v1/stream that remembers the last id, as a browser does. */
export class SseClient {
  readonly events: SseEvent[] = [];
  readonly #url: string;
  readonly #headers: Record<string, string>;
  #lastId: string | null = null;
  #request: ClientRequest | null = null;
  status = 0;
  body = '';
  heartbeats = 0;
  hasEnded = false;

  constructor(url: string, headers: Record<string, string> = {}) {
    this.#url = url;
    this.#headers = headers;
  }

  get lastId(): string | null {
    return this.#lastId;
  }

  /** Resolves with the answer's head. */
  connect(): Promise<void> {
    const resume = this.#lastId === null ? {} : { 'last-event-id': this.#lastId };
    this.hasEnded = false;
    return new Promise((resolve, reject) => {
      const sent = request(
        this.#url,
        { headers: { ...this.#headers, ...resume }, agent: false },
        (answer) => {
          this.status = answer.statusCode ?? 0;
          resolve();
          let rest = '';
          answer.setEncoding('utf8');
          answer.on('data', (text: string) => {
            if (this.#request !== sent) return;
            if (this.status !== 200) {
              this.body += text;
              return;
            }
            rest += text;
            const blocks = rest.split('\n\n');
            rest = blocks.pop() ?? '';
            for (const block of blocks) this.#take(block);
          });
          answer.on('error', () => {});
          answer.on('close', () => {
            if (this.#request === sent) this.hasEnded = true;
          });
        },
      );
      sent.on('error', (error) => (this.#request === sent ? reject(error) : resolve()));
      this.#request = sent;
      sent.end();
    });
  }

  /** The connection breaks in the middle. */
  cut(): void {
    const sent = this.#request;
    this.#request = null;
    sent?.destroy();
  }

  #take(block: string): void {
    let [id, event, data] = ['', '', ''];
    for (const line of block.split('\n')) {
      if (line.startsWith(': heartbeat')) this.heartbeats += 1;
      if (line.startsWith('id: ')) id = line.slice(4);
      if (line.startsWith('event: ')) event = line.slice(7);
      if (line.startsWith('data: ')) data = line.slice(6);
    }
    if (id !== '') this.#lastId = id;
    if (data !== '') this.events.push({ id, event, data });
  }
}
