import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { seededRandom, type Random } from '../random.ts';

/** One direction of a proxy, all of its connections together; may be changed at any time. */
export interface Link {
  /** nothing passes, and nobody is told that the other end has closed; what is under way passes once it is thawed */
  frozen: boolean;
  /** how much later bytes arrive, ms */
  delayMs: number;
  /** added to it at random for each piece, ms at most */
  jitterMs: number;
  /** 0 = no limit */
  bytesPerSecond: number;
}

/** What a proxy does with the bytes of one connection. */
export interface Watcher {
  /** sees what the client sends */
  fromClient(bytes: Buffer): void;
  /** null: it all passes; otherwise so many bytes of it pass, and then this happens */
  fromServer(bytes: Buffer): { pass: number; after: 'cut' | 'silence' } | null;
}

const THROTTLE_MS = 20;
const POLL_MS = 5;
/** a black hole that ends has swallowed what was under way on this share of its broken connections */
const LOST_IN_HOLE = 0.5;

const passing: Watcher = { fromClient: () => {}, fromServer: () => null };

/** A TCP proxy on loopback that cuts, freezes, delays and throttles, each direction by itself. */
export class TcpProxy {
  readonly toServer = new ThrottledLink();
  readonly toClient = new ThrottledLink();
  /** new connections are closed at once */
  refusing = false;
  /** since the start */
  readonly counts = { connections: 0, cut: 0 };
  readonly random: Random;
  readonly #server: Server;
  readonly #connections = new Set<ProxiedConnection>();
  readonly #target: { host: string; port: number };
  readonly #throttle: NodeJS.Timeout;
  #isHole = false;

  protected constructor(target: { host: string; port: number }, random: Random) {
    this.#target = target;
    this.random = random;
    this.#server = createServer({ noDelay: true }, (socket) => this.#accept(socket));
    this.#throttle = setInterval(() => {
      this.toServer.refill();
      this.toClient.refill();
    }, THROTTLE_MS);
  }

  /** @param target host:port */
  static async start(target: string, random: Random = seededRandom()): Promise<TcpProxy> {
    const { hostname, port } = new URL(`tcp://${target}`);
    const proxy = new TcpProxy({ host: hostname, port: Number(port) }, random);
    await proxy.listen();
    return proxy;
  }

  protected async listen(port = 0): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, '127.0.0.1', resolve);
    });
  }

  /** host:port */
  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** A connection's watcher; a subclass has one of its own. */
  protected watch(): Watcher {
    return passing;
  }

  /** Nothing passes in either direction; connections are still made. */
  freeze(): void {
    this.toServer.frozen = true;
    this.toClient.frozen = true;
  }

  /** The same, as when a router drops everything: no connection is made, and what broke meanwhile may never be told. */
  blackHole(): void {
    this.#isHole = true;
    this.freeze();
  }

  /** The end of freeze(), blackHole(), delays, limits and refusals. */
  heal(): void {
    this.#isHole = false;
    this.refusing = false;
    this.toServer.heal();
    this.toClient.heal();
  }

  get isHole(): boolean {
    return this.#isHole;
  }

  /** Resets every connection, in the middle of whatever is under way. */
  cutAll(): void {
    for (const connection of this.#connections) this.#cut(connection);
  }

  /** Resets the one that the server sees coming from this port. */
  cutFrom(port: number): void {
    for (const connection of this.#connections) if (connection.serverSidePort === port) this.#cut(connection);
  }

  async stop(): Promise<void> {
    clearInterval(this.#throttle);
    for (const connection of this.#connections) connection.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #cut(connection: ProxiedConnection): void {
    this.counts.cut += 1;
    connection.destroy();
  }

  #accept(client: Socket): void {
    if (this.refusing) {
      client.on('error', () => {});
      client.resetAndDestroy();
      return;
    }
    this.counts.connections += 1;
    const connection = new ProxiedConnection(this, client, this.#target, this.watch());
    this.#connections.add(connection);
    void connection.closed.then(() => this.#connections.delete(connection));
  }
}

class ThrottledLink implements Link {
  frozen = false;
  delayMs = 0;
  jitterMs = 0;
  bytesPerSecond = 0;
  #budget = 0;

  refill(): void {
    this.#budget = (this.bytesPerSecond * THROTTLE_MS) / 1000;
  }

  /** True when these bytes may go now. */
  mayPass(byteLength: number): boolean {
    if (this.frozen) return false;
    if (this.bytesPerSecond === 0) return true;
    if (this.#budget <= 0) return false;
    this.#budget -= byteLength;
    return true;
  }

  heal(): void {
    Object.assign(this, { frozen: false, delayMs: 0, jitterMs: 0, bytesPerSecond: 0 });
  }
}

/** One connection. Each direction hands a chunk on before it reads the next one, so that memory stays bounded. */
class ProxiedConnection {
  readonly closed: Promise<void>;
  readonly #proxy: TcpProxy;
  readonly #client: Socket;
  readonly #watcher: Watcher;
  readonly #settle: () => void;
  #server: Socket | null = null;
  #isDestroyed = false;
  /** nothing arrives at this end any more, not even that the other one has closed */
  readonly #silentTo = { server: false, client: false };

  constructor(proxy: TcpProxy, client: Socket, target: { host: string; port: number }, watcher: Watcher) {
    this.#proxy = proxy;
    this.#client = client;
    this.#watcher = watcher;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.closed = promise;
    this.#settle = resolve;
    client.on('error', () => {}); // 'close' follows
    void this.#open(target);
  }

  /** the client's port as the server sees it */
  get serverSidePort(): number | undefined {
    return this.#server?.localPort;
  }

  destroy(): void {
    this.#isDestroyed = true;
    this.#server?.resetAndDestroy();
    this.#client.resetAndDestroy();
    this.#settle();
  }

  async #open(target: { host: string; port: number }): Promise<void> {
    while (!this.#isDestroyed && this.#proxy.isHole) await pause(POLL_MS);
    if (this.#isDestroyed) return;
    const server = connect({ ...target, noDelay: true });
    this.#server = server;
    server.on('error', () => {});
    const { toServer, toClient } = this.#proxy;
    this.#pump(
      this.#client,
      (bytes) => this.#fromClient(bytes, server),
      () => this.#tellClosed(toServer, server, 'server'),
    );
    this.#pump(
      server,
      (bytes) => this.#fromServer(bytes),
      () => this.#tellClosed(toClient, this.#client, 'client'),
    );
  }

  #pump(from: Socket, handle: (bytes: Buffer) => Promise<void>, tellClosed: () => Promise<void>): void {
    let handling = Promise.resolve();
    from.on('data', (bytes: Buffer) => {
      from.pause();
      handling = handle(bytes).then(
        () => void from.resume(),
        () => this.destroy(),
      );
    });
    from.on('close', () => {
      if (this.#proxy.isHole && this.#proxy.random.next() < LOST_IN_HOLE) {
        Object.assign(this.#silentTo, { server: true, client: true });
      }
      void handling.then(tellClosed);
    });
    if (from.destroyed) void tellClosed();
  }

  /** That one end has closed travels like what it sent. */
  async #tellClosed(link: Link, to: Socket, end: 'server' | 'client'): Promise<void> {
    while (!this.#isDestroyed && link.frozen) await pause(POLL_MS);
    if (this.#silentTo[end] && !to.destroyed) return;
    to.destroy();
    if (this.#client.destroyed && this.#server?.destroyed === true) this.#settle();
  }

  async #fromClient(bytes: Buffer, server: Socket): Promise<void> {
    await this.#travel(this.#proxy.toServer, bytes.length);
    if (this.#silentTo.server) return;
    this.#watcher.fromClient(bytes);
    await send(server, bytes);
  }

  async #fromServer(bytes: Buffer): Promise<void> {
    await this.#travel(this.#proxy.toClient, bytes.length);
    if (this.#silentTo.client) return;
    const end = this.#watcher.fromServer(bytes);
    if (end === null) return send(this.#client, bytes);
    await send(this.#client, bytes.subarray(0, end.pass));
    if (end.after === 'silence') this.#silentTo.client = true;
    else this.destroy();
  }

  async #travel(link: ThrottledLink, byteLength: number): Promise<void> {
    const delayMs = link.delayMs + link.jitterMs * (link.jitterMs > 0 ? this.#proxy.random.next() : 0);
    if (delayMs > 0) await pause(delayMs);
    while (!this.#isDestroyed && !link.mayPass(byteLength)) await pause(POLL_MS);
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
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
