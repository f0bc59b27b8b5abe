import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

/** What the proxy does with the connections through it; may be changed at any time. */
export interface Faults {
  /** the answer of every N-th COMMIT is swallowed and its connection cut; 0 = none */
  loseCommitEvery: number;
  /** after the swallowed answer the connection stays open and silent instead of being cut */
  loseSilently: boolean;
  /** nothing passes in either direction and nothing is closed: a black hole */
  frozen: boolean;
  /** new connections are closed at once */
  refusing: boolean;
  /** how much later what the server says arrives, ms */
  delayMs: number;
  /** bytes per second towards the server, all connections together; 0 = no limit */
  clientBytesPerSecond: number;
}

/** Since the start. */
export interface Counts {
  connections: number;
  /** answers to COMMIT that the server gave */
  commits: number;
  /** of these, swallowed, by application_name of the session */
  lost: Map<string, number>;
  cut: number;
}

const THROTTLE_MS = 20;
const POLL_MS = 10;

/**
 * A TCP proxy in front of a PostgreSQL server. It says nothing of its own; it follows the server's messages from the
 * answer to the SSLRequest on (plaintext only), so that it can lose the answer of a COMMIT: after the server has
 * committed and before the client knows.
 */
export class PostgresProxy {
  readonly faults: Faults = {
    loseCommitEvery: 0,
    loseSilently: false,
    frozen: false,
    refusing: false,
    delayMs: 0,
    clientBytesPerSecond: 0,
  };
  readonly counts: Counts = { connections: 0, commits: 0, lost: new Map(), cut: 0 };
  readonly #server: Server;
  readonly #connections = new Set<ProxiedConnection>();
  readonly #target: { host: string; port: number };
  #budget = 0;
  #throttle: NodeJS.Timeout;

  private constructor(target: { host: string; port: number }) {
    this.#target = target;
    this.#server = createServer({ noDelay: true }, (socket) => this.#accept(socket));
    this.#throttle = setInterval(() => {
      this.#budget = (this.faults.clientBytesPerSecond * THROTTLE_MS) / 1000;
    }, THROTTLE_MS);
  }

  /** @param listenPort 0 = any free one */
  static async start(url: string, listenPort = 0): Promise<PostgresProxy> {
    const { hostname, port } = new URL(url);
    const proxy = new PostgresProxy({ host: hostname, port: Number(port) });
    await new Promise<void>((resolve, reject) => {
      proxy.#server.once('error', reject);
      proxy.#server.listen(listenPort, '127.0.0.1', resolve);
    });
    return proxy;
  }

  /** The same database through the proxy. */
  url(url: string): string {
    const through = new URL(url);
    through.host = `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
    return through.href;
  }

  get open(): number {
    return this.#connections.size;
  }

  /** How many answers to COMMIT were lost to sessions whose application_name holds this. */
  lost(application: string): number {
    let sum = 0;
    for (const [name, count] of this.counts.lost) if (name.includes(application)) sum += count;
    return sum;
  }

  /** Resets every connection, in the middle of whatever is under way. */
  cutAll(): void {
    for (const connection of this.#connections) this.cut(connection);
  }

  cut(connection: ProxiedConnection): void {
    this.counts.cut += 1;
    connection.destroy();
  }

  async stop(): Promise<void> {
    clearInterval(this.#throttle);
    for (const connection of this.#connections) connection.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  /** True when these bytes may go to the server now. */
  mayPass(byteLength: number): boolean {
    if (this.faults.frozen) return false;
    if (this.faults.clientBytesPerSecond === 0) return true;
    if (this.#budget <= 0) return false;
    this.#budget -= byteLength;
    return true;
  }

  #accept(client: Socket): void {
    if (this.faults.refusing) {
      client.resetAndDestroy();
      return;
    }
    this.counts.connections += 1;
    const connection = new ProxiedConnection(this, client, connect({ ...this.#target, noDelay: true }));
    this.#connections.add(connection);
    connection.closed.then(
      () => this.#connections.delete(connection),
      () => {},
    );
  }
}

/** One session. Each direction hands a chunk on before it reads the next one, so that memory stays bounded. */
class ProxiedConnection {
  readonly closed: Promise<void>;
  readonly #proxy: PostgresProxy;
  readonly #client: Socket;
  readonly #server: Socket;
  readonly #startup = new StartupReader();
  readonly #answers = new AnswerReader();
  #isDestroyed = false;
  #isSilent = false;

  constructor(proxy: PostgresProxy, client: Socket, server: Socket) {
    this.#proxy = proxy;
    this.#client = client;
    this.#server = server;
    for (const socket of [client, server]) socket.on('error', () => {}); // 'close' follows
    this.closed = new Promise((resolve) => {
      client.on('close', () => {
        server.destroy();
        resolve();
      });
      server.on('close', () => {
        // a black hole tells nobody that the server is gone
        if (!this.#isSilent && !proxy.faults.frozen) client.destroy();
      });
    });
    this.#pump(client, (bytes) => this.#fromClient(bytes));
    this.#pump(server, (bytes) => this.#fromServer(bytes));
  }

  destroy(): void {
    this.#isDestroyed = true;
    this.#server.resetAndDestroy();
    this.#client.resetAndDestroy();
  }

  #pump(from: Socket, handle: (bytes: Buffer) => Promise<void>): void {
    from.on('data', (bytes: Buffer) => {
      from.pause();
      handle(bytes).then(
        () => from.resume(),
        () => this.destroy(),
      );
    });
  }

  async #fromClient(bytes: Buffer): Promise<void> {
    while (!this.#isDestroyed && !this.#proxy.mayPass(bytes.length)) {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
    this.#startup.read(bytes);
    await send(this.#server, bytes);
  }

  async #fromServer(bytes: Buffer): Promise<void> {
    const { faults, counts } = this.#proxy;
    while (!this.#isDestroyed && faults.frozen) await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    if (faults.delayMs > 0) await new Promise((resolve) => setTimeout(resolve, faults.delayMs));
    if (this.#isSilent) return;
    let lostAt = -1;
    this.#answers.read(bytes, this.#startup.answersInOneByte, (tag, at) => {
      if (tag !== 'COMMIT' || lostAt >= 0) return;
      counts.commits += 1;
      if (faults.loseCommitEvery > 0 && counts.commits % faults.loseCommitEvery === 0) lostAt = at;
    });
    if (lostAt < 0) return send(this.#client, bytes);
    const name = this.#startup.applicationName;
    counts.lost.set(name, (counts.lost.get(name) ?? 0) + 1);
    // a COMMIT whose message began in an earlier chunk has passed in part: a client can make nothing of that either
    await send(this.#client, bytes.subarray(0, Math.max(0, lostAt)));
    if (faults.loseSilently) this.#isSilent = true;
    else this.destroy();
  }
}

function send(socket: Socket, bytes: Buffer): Promise<void> {
  if (bytes.length === 0 || socket.destroyed || socket.write(bytes)) return Promise.resolve();
  return new Promise((resolve) => {
    const settle = (): void => {
      socket.off('drain', settle);
      socket.off('close', settle);
      resolve();
    };
    socket.once('drain', settle);
    socket.once('close', settle);
  });
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
