import { TcpProxy, type Watcher } from './proxy.ts';
import { seededRandom, type Random } from '../random.ts';

/** What happens to the answers of the server; may be changed at any time. */
export interface AnswerFaults {
  /** the answer of every N-th COMMIT is swallowed and its connection cut; 0 = none */
  loseEvery: number;
  /** after the swallowed answer the connection stays open and silent instead of being cut */
  silently: boolean;
}

/**
 * A proxy in front of a PostgreSQL server. It says nothing of its own; it follows the server's messages from the
 * answer to the SSLRequest on (plaintext only), so that it can lose the answer of a COMMIT: after the server has
 * committed and before the client knows.
 */
export class PostgresProxy extends TcpProxy {
  readonly answers: AnswerFaults = { loseEvery: 0, silently: false };
  /** answers to COMMIT that the server gave */
  commits = 0;
  /** of these, swallowed, by application_name of the session */
  readonly #lost = new Map<string, number>();

  /** @param listenPort 0 = any free one */
  static async at(
    databaseUrl: string,
    { random = seededRandom(), listenPort = 0 }: { random?: Random; listenPort?: number } = {},
  ): Promise<PostgresProxy> {
    const { hostname, port } = new URL(databaseUrl);
    const proxy = new PostgresProxy({ host: hostname, port: Number(port) }, random);
    await proxy.listen(listenPort);
    return proxy;
  }

  /** The same database through the proxy. */
  url(url: string): string {
    const through = new URL(url);
    through.host = this.address;
    return through.href;
  }

  /** How many answers to COMMIT were lost to sessions whose application_name holds this. */
  lost(application: string): number {
    let sum = 0;
    for (const [name, count] of this.#lost) if (name.includes(application)) sum += count;
    return sum;
  }

  override heal(): void {
    super.heal();
    Object.assign(this.answers, { loseEvery: 0, silently: false });
  }

  protected override watch(): Watcher {
    const startup = new StartupReader();
    const answers = new AnswerReader();
    return {
      fromClient: (bytes) => startup.read(bytes),
      fromServer: (bytes) => {
        let lostAt = -1;
        answers.read(bytes, startup.answersInOneByte, (tag, at) => {
          if (tag !== 'COMMIT' || lostAt >= 0) return;
          this.commits += 1;
          // a message that began in an earlier chunk has passed in part: a client can make nothing of that either
          if (this.#loses()) lostAt = Math.max(0, at);
        });
        if (lostAt < 0) return null;
        const name = startup.applicationName;
        this.#lost.set(name, (this.#lost.get(name) ?? 0) + 1);
        return { pass: lostAt, after: this.answers.silently ? 'silence' : 'cut' };
      },
    };
  }

  #loses(): boolean {
    const { loseEvery } = this.answers;
    return loseEvery > 0 && this.commits % loseEvery === 0;
  }
}

const SSL_REQUEST = 80_877_103;
const GSS_REQUEST = 80_877_104;
const PROTOCOL_3 = 3;
const STARTUP_BYTES_MAX = 64 * 1024;

/** The client's first packets: requests for encryption, which the server answers with one byte, then its name. */
class StartupReader {
  applicationName = '';
  /** answers of one byte that the server still owes */
  answersInOneByte = 0;
  #bytes: Buffer | null = Buffer.alloc(0);

  read(chunk: Buffer): void {
    if (this.#bytes === null) return;
    this.#bytes = Buffer.concat([this.#bytes, chunk]);
    while (this.#bytes !== null && this.#bytes.length >= 8) {
      const length = this.#bytes.readInt32BE(0);
      const code = this.#bytes.readInt32BE(4);
      if (length > STARTUP_BYTES_MAX) throw new Error(`a startup packet of ${length} bytes`);
      if (this.#bytes.length < length) return;
      if (code === SSL_REQUEST || code === GSS_REQUEST) {
        this.answersInOneByte += 1;
        this.#bytes = this.#bytes.subarray(length);
        continue;
      }
      if (code >>> 16 === PROTOCOL_3) {
        const words = this.#bytes.toString('utf8', 8, length).split('\0');
        const at = words.findIndex((word, index) => index % 2 === 0 && word === 'application_name');
        this.applicationName = at < 0 ? '' : words[at + 1];
      }
      this.#bytes = null;
    }
  }
}

const HEADER_BYTES = 5;
const COMMAND_COMPLETE = 'C'.charCodeAt(0);
const TAG_BYTES_MAX = 64;

/** Follows the server's messages across chunks and tells the tag of each CommandComplete. */
class AnswerReader {
  #single = 0;
  readonly #header = Buffer.alloc(HEADER_BYTES);
  #headerBytes = 0;
  #left = 0;
  #tag: Buffer[] | null = null;
  #startedAt = 0;

  /** `told` gets the offset in this chunk where the message begins; negative when it began in an earlier one */
  read(chunk: Buffer, oneByteAnswers: number, told: (tag: string, at: number) => void): void {
    let at = 0;
    while (this.#single < oneByteAnswers && at < chunk.length) {
      if (chunk[at] === 'S'.charCodeAt(0)) throw new Error('the proxy cannot follow TLS');
      this.#single += 1;
      at += 1;
    }
    while (at < chunk.length) {
      if (this.#headerBytes < HEADER_BYTES) {
        if (this.#headerBytes === 0) this.#startedAt = at;
        const taken = chunk.copy(this.#header, this.#headerBytes, at, at + HEADER_BYTES - this.#headerBytes);
        this.#headerBytes += taken;
        at += taken;
        if (this.#headerBytes < HEADER_BYTES) break;
        this.#left = this.#header.readInt32BE(1) - 4;
        const isTag = this.#header[0] === COMMAND_COMPLETE && this.#left <= TAG_BYTES_MAX;
        this.#tag = isTag ? [] : null;
      }
      const taken = Math.min(this.#left, chunk.length - at);
      this.#tag?.push(chunk.subarray(at, at + taken));
      at += taken;
      this.#left -= taken;
      if (this.#left > 0) break;
      if (this.#tag !== null)
        told(Buffer.concat(this.#tag).toString('latin1').replace(/\0$/, ''), this.#startedAt);
      this.#headerBytes = 0;
    }
    this.#startedAt = -1;
  }
}
