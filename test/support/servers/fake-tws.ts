import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { Signal } from '../../../src/core/wait.ts';

/** The numbers of messages in TWS's own protocol, as far as they are spoken here. */
const FROM_CLIENT: Readonly<Record<string, TwsRequest['kind']>> = {
  '1': 'line',
  '2': 'cancel_line',
  '9': 'contract',
  '49': 'time',
  '71': 'start',
  '97': 'tick_by_tick',
  '98': 'cancel_tick_by_tick',
};
const TICK_PRICE = 1;
const ERROR = 4;
const NEXT_VALID_ID = 9;
const CONTRACT = 10;
const MANAGED_ACCOUNTS = 15;
const TICK_STRING = 46;
const CURRENT_TIME = 49;
const CONTRACT_END = 52;
const TICK_BY_TICK = 99;
/** ticks of a market data line */
const [BID, ASK, RT_VOLUME] = [1, 2, 48];
/** tick by tick */
const [LAST, BID_ASK] = [1, 3];

export interface TwsRequest {
  kind: 'start' | 'contract' | 'tick_by_tick' | 'cancel_tick_by_tick' | 'line' | 'cancel_line' | 'time';
  /** the client's number of it; −1 when it has none */
  id: number;
  /** of contract: the symbol; of subscriptions and of a contract asked for by its number: the symbol of its contract */
  symbol: string;
  /** of contract: how it was described; of subscriptions: conId and exchange alone */
  contract: Record<string, string>;
  /** of line: its generic ticks */
  generic: string;
  /** of tick_by_tick: Last or BidAsk */
  type: string;
  /** which connection it came on, from 1 */
  connection: number;
  atMs: number;
}

export interface FakeTwsOptions {
  /** 176 is TWS 10.19 */
  serverVersion?: number;
  /** symbols with the ids of their contracts; default: SPY and AAPL */
  contracts?: Record<string, number[]>;
  /** tick-by-tick subscriptions of one connection; more get 10190 */
  tickByTickMax?: number;
  /** requests of any second; more get 100, and the third time the connection is closed */
  perSecondMax?: number;
  /** when its symbols are traded; it does not say so of others */
  hours?: Record<string, { zone: string; trading: string; liquid: string }>;
  /** asked before a request is answered: a code refuses it */
  refuse?: (request: TwsRequest) => number | null;
  /** the same, said of a request that is held nevertheless */
  warn?: (request: TwsRequest) => number | null;
}

/** The fields of a contract in a request, in their order. */
const CONTRACT_FIELDS = [
  'conId',
  'symbol',
  'secType',
  'expiry',
  'strike',
  'right',
  'multiplier',
  'exchange',
  'primaryExchange',
  'currency',
  'localSymbol',
  'tradingClass',
];

/** Those that are said. */
function contractIn(fields: readonly string[], first: number): Record<string, string> {
  const all = CONTRACT_FIELDS.map((name, at) => [name, fields[first + at]]);
  return Object.fromEntries(all.filter(([, value]) => value !== ''));
}

/**
 * A TWS for tests: its real wire protocol (handshake with versions, length-prefixed messages of NUL-terminated fields),
 * written in small pieces. It does what the test tells it.
 */
export class FakeTws {
  readonly requests: TwsRequest[] = [];
  readonly #options: Required<FakeTwsOptions>;
  readonly #server: Server;
  readonly #clients = new Set<FakeClient>();
  readonly #changed = new Signal();
  #connections = 0;
  #port = 0;
  /** it takes connections and requests, and says nothing */
  mute = false;
  /** so many questions for a contract get no answer */
  unanswered = 0;

  private constructor(options: FakeTwsOptions) {
    this.#options = {
      serverVersion: 176,
      contracts: { SPY: [756_733], AAPL: [265_598] },
      tickByTickMax: Infinity,
      perSecondMax: 50,
      hours: {},
      refuse: () => null,
      warn: () => null,
      ...options,
    };
    this.#server = createServer((socket) => {
      const client = new FakeClient(++this.#connections, socket, this.#options, (request) => {
        this.requests.push(request);
        this.#changed.fire();
        if (request.kind === 'contract' && this.unanswered > 0) {
          this.unanswered -= 1;
          return false;
        }
        return !this.mute;
      });
      this.#clients.add(client);
      socket.on('close', () => this.#clients.delete(client));
    });
  }

  static async start(options: FakeTwsOptions = {}): Promise<FakeTws> {
    const tws = new FakeTws(options);
    await tws.listen();
    return tws;
  }

  get port(): number {
    return this.#port;
  }

  get connections(): number {
    return this.#connections;
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(this.#port, '127.0.0.1', resolve));
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.drop();
    await closed;
  }

  /** Cuts every connection; new ones are taken. */
  drop(): void {
    for (const client of this.#clients) client.socket.destroy();
  }

  /** Resolves once requests fulfil the condition. */
  async until(condition: (requests: readonly TwsRequest[]) => boolean): Promise<void> {
    while (!condition(this.requests)) await this.#changed.wait();
  }

  /** Resolves once so many subscriptions tick by tick of this kind were asked for, on all connections together. */
  subscribed(symbol: string, type: 'Last' | 'BidAsk' | 'line', times = 1): Promise<void> {
    return this.until(
      (requests) => requests.filter((one) => one.symbol === symbol && one.type === type).length >= times,
    );
  }

  /** A trade tick by tick, to everybody who subscribed to it. Time in seconds. */
  trade(symbol: string, seconds: number, price: number | string, size: number | string): void {
    this.#tell(symbol, 'Last', (id) => [TICK_BY_TICK, id, LAST, seconds, price, size, 0, 'ARCA', '']);
  }

  quote(
    symbol: string,
    seconds: number,
    bid: number | string,
    ask: number | string,
    sizes = [100, 200],
  ): void {
    this.#tell(symbol, 'BidAsk', (id) => [TICK_BY_TICK, id, BID_ASK, seconds, bid, ask, ...sizes, 0]);
  }

  lineQuote(symbol: string, bid: number, ask: number): void {
    this.#tell(symbol, 'line', (id) => [TICK_PRICE, 6, id, BID, bid, 100, 0]);
    this.#tell(symbol, 'line', (id) => [TICK_PRICE, 6, id, ASK, ask, 100, 0]);
  }

  lineTrade(symbol: string, text: string): void {
    this.#tell(symbol, 'line', (id) => [TICK_STRING, 6, id, RT_VOLUME, text]);
  }

  /** What it holds for its clients: `SPY Last`, `SPY BidAsk`, `SPY line`, sorted. */
  get held(): string[] {
    const all = [...this.#clients].flatMap(({ subscriptions }) => [...subscriptions.values()]);
    return all.map(({ symbol, type }) => `${symbol} ${type}`).sort();
  }

  /** The subscriptions are gone, and it does not say so. */
  forget(): void {
    for (const { subscriptions } of this.#clients) subscriptions.clear();
  }

  /** A message about each subscription of this kind, which it keeps. */
  complain(symbol: string, type: 'Last' | 'BidAsk' | 'line', code: number, text: string): void {
    this.#tell(symbol, type, (id) => [ERROR, 2, id, code, text, '']);
  }

  /** A message that belongs to no request. */
  announce(code: number, text: string): void {
    for (const client of this.#clients) client.complain(-1, code, text);
  }

  #tell(symbol: string, type: string, message: (id: number) => (string | number)[]): void {
    for (const client of this.#clients) {
      for (const [id, subscription] of client.subscriptions) {
        if (subscription.symbol === symbol && subscription.type === type) client.send(...message(id));
      }
    }
  }
}

class FakeClient {
  readonly socket: Socket;
  readonly subscriptions = new Map<number, TwsRequest>();
  readonly #connection: number;
  readonly #options: Required<FakeTwsOptions>;
  readonly #taken: (request: TwsRequest) => boolean;
  #bytes = Buffer.alloc(0);
  #greeted = false;
  #lately: number[] = [];
  #violations = 0;

  constructor(
    connection: number,
    socket: Socket,
    options: Required<FakeTwsOptions>,
    taken: (request: TwsRequest) => boolean,
  ) {
    this.#connection = connection;
    this.socket = socket;
    this.#options = options;
    this.#taken = taken;
    socket.setNoDelay(true);
    socket.on('error', () => {});
    socket.on('data', (data) => {
      this.#bytes = Buffer.concat([this.#bytes, data]);
      this.#read();
    });
  }

  send(...fields: (string | number)[]): void {
    const body = Buffer.from(fields.map((field) => `${field}\0`).join(''));
    const length = Buffer.alloc(4);
    length.writeUInt32BE(body.length);
    const message = Buffer.concat([length, body]);
    // in two pieces, cut anywhere: a length or a field may be torn
    const cut = Math.floor(Math.random() * message.length);
    this.socket.write(message.subarray(0, cut));
    this.socket.write(message.subarray(cut));
  }

  complain(id: number, code: number, text: string): void {
    this.send(ERROR, 2, id, code, text, '');
  }

  #read(): void {
    if (!this.#greeted) {
      const head = 'API\0'.length + 4;
      if (this.#bytes.length < head) return;
      const length = this.#bytes.readUInt32BE(4);
      if (this.#bytes.length < head + length) return;
      const range = /^v(\d+)\.\.(\d+)$/.exec(this.#bytes.toString('latin1', head, head + length));
      if (this.#bytes.toString('latin1', 0, 4) !== 'API\0' || range === null) {
        this.socket.destroy();
        return;
      }
      this.#bytes = this.#bytes.subarray(head + length);
      this.#greeted = true;
      if (
        !this.#taken({
          kind: 'start',
          id: -1,
          symbol: '',
          type: 'handshake',
          contract: {},
          generic: '',
          connection: this.#connection,
          atMs: performance.now(),
        })
      )
        return;
      this.send(Math.min(this.#options.serverVersion, Number(range[2])), '20251103 14:30:00 EST');
    }
    while (this.#bytes.length >= 4) {
      const length = this.#bytes.readUInt32BE(0);
      if (this.#bytes.length < 4 + length) return;
      const fields = this.#bytes
        .toString('utf8', 4, 4 + length)
        .split('\0')
        .slice(0, -1);
      this.#bytes = this.#bytes.subarray(4 + length);
      this.#message(fields);
    }
  }

  #message(fields: readonly string[]): void {
    const kind = FROM_CLIENT[fields[0]];
    if (kind === undefined) throw new Error(`a message that the fake does not know: ${fields.join(' ')}`);
    const at = performance.now();
    const request: TwsRequest = {
      kind,
      id: -1,
      symbol: '',
      type: '',
      contract: {},
      generic: '',
      connection: this.#connection,
      atMs: at,
    };
    if (kind === 'contract' || kind === 'line') {
      const contract = contractIn(fields, 3);
      const symbol = contract['conId'] === undefined ? contract['symbol'] : this.#symbolOf(contract['conId']);
      const generic = kind === 'line' ? fields[16] : '';
      Object.assign(request, {
        id: Number(fields[2]),
        symbol,
        type: kind === 'line' ? 'line' : '',
        contract,
        generic,
      });
    }
    if (kind === 'tick_by_tick') {
      const contract = contractIn(fields, 2);
      Object.assign(request, {
        id: Number(fields[1]),
        symbol: this.#symbolOf(contract['conId']),
        type: fields[14],
        contract,
      });
    }
    if (kind.startsWith('cancel')) request.id = Number(fields.at(-1));
    if (!this.#taken(request)) return;
    if (this.#isTooFast(request)) return;
    const refusal = this.#options.refuse(request);
    if (refusal !== null) {
      this.complain(request.id, refusal, 'refused by the test');
      return;
    }
    const warning = this.#options.warn(request);
    if (warning !== null) this.complain(request.id, warning, 'said by the test');
    this.#answer(request);
  }

  #isTooFast(request: TwsRequest): boolean {
    this.#lately = [...this.#lately.filter((ms) => request.atMs - ms < 1000), request.atMs];
    if (this.#lately.length <= this.#options.perSecondMax) return false;
    this.#violations += 1;
    this.complain(request.id, 100, 'Max rate of messages per second has been exceeded');
    if (this.#violations >= 3) this.socket.destroy();
    return true;
  }

  #answer(request: TwsRequest): void {
    const { kind, id } = request;
    switch (kind) {
      case 'start':
        this.send(MANAGED_ACCOUNTS, 1, 'DU1');
        this.send(NEXT_VALID_ID, 1, 1);
        return;
      case 'contract':
        this.#contracts(request);
        return;
      case 'tick_by_tick': {
        const held = [...this.subscriptions.values()].filter((one) => one.kind === 'tick_by_tick').length;
        if (held >= this.#options.tickByTickMax) {
          this.complain(id, 10_190, 'Max number of tick-by-tick requests has been reached');
        } else this.subscriptions.set(id, request);
        return;
      }
      case 'line':
        this.subscriptions.set(id, request);
        return;
      case 'cancel_line':
      case 'cancel_tick_by_tick':
        if (!this.subscriptions.delete(id)) this.complain(id, 300, `Can't find EId with tickerId:${id}`);
        return;
      case 'time':
        this.send(CURRENT_TIME, 1, Math.floor(Date.now() / 1000));
        return;
    }
  }

  #contracts({ id, symbol, contract }: TwsRequest): void {
    const ids = this.#options.contracts[symbol] ?? [];
    if (ids.length === 0) {
      this.complain(id, 200, 'No security definition has been found for the request');
      return;
    }
    const { secType = 'STK', expiry = '', strike = '0', right = '', exchange, currency = 'USD' } = contract;
    const { zone, trading, liquid } = this.#options.hours[symbol] ?? { zone: '', trading: '', liquid: '' };
    for (const conId of ids) {
      const head = [symbol, secType, expiry, strike, right, exchange, currency, symbol, 'NMS', 'NMS', conId];
      const names = [0.01, '', 'LMT,MKT', `${exchange},ARCA`, 1, 0, `${symbol} ’s long name`, 'ARCA'];
      const hours = ['', '', '', '', zone, trading, liquid, '', '', 0];
      this.send(CONTRACT, id, ...head, ...names, ...hours, 1, '', '', '26', '', 'ETF', 1, 1, 100);
    }
    this.send(CONTRACT_END, 1, id);
  }

  #symbolOf(conId: string | undefined): string {
    const entries = Object.entries(this.#options.contracts);
    return entries.find(([, ids]) => ids.includes(Number(conId)))?.[0] ?? '';
  }
}
