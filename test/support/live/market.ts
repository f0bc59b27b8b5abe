import {
  TrimmedError,
  type BusFollower,
  type Delivery,
  type GroupInfo,
  type StreamBus,
} from '../../../src/bus/bus.ts';
import { formatMicros } from '../../../src/core/time.ts';
import { Signal, unlessAborted } from '../../../src/core/wait.ts';
import type {
  LiveTickTable,
  StoredTick,
  SymbolName,
  TickKey,
  TickSlice,
} from '../../../src/store/live/ticks.ts';
import { partitionOf } from '../../../src/core/bus/partitions.ts';

const encoder = new TextEncoder();

interface Record {
  offset: number;
  tick: StoredTick;
  takenMs: number;
}

interface Row {
  tick: StoredTick;
  tx: bigint;
}

export function textOf({ provider, symbol, ts, seq }: TickKey): string {
  return `${provider}|${symbol}|${ts}|${seq}`;
}

/**
 * A bus, a table with the transactions of its rows, and a tick consumer that takes steps: it begins a transaction with some
 * records, commits it, and acknowledges, whenever it is told to. Everything answers at once, in an order that the test decides.
 */
export class ModelMarket {
  readonly #logs: { records: Record[]; first: number; next: number; acknowledged: number; taken: number }[];
  readonly #rows = new Map<string, Row>();
  readonly #running = new Map<bigint, { rows: Row[]; partition: number; upTo: number }>();
  readonly #news = new Signal();
  #tx = 100n;
  #nowMs = 1_750_000_000_000;
  hasGroup = true;

  constructor(partitions: number) {
    this.#logs = Array.from({ length: partitions }, () => ({
      records: [],
      first: 0,
      next: 0,
      acknowledged: -1,
      taken: 0,
    }));
  }

  get rows(): StoredTick[] {
    return [...this.#rows.values()].map(({ tick }) => tick);
  }

  get isConsumed(): boolean {
    return (
      this.#running.size === 0 && this.#logs.every(({ acknowledged, next }) => acknowledged === next - 1)
    );
  }

  publish(ticks: readonly StoredTick[]): void {
    for (const tick of ticks) {
      const log = this.#logs[partitionOf(tick.symbol, this.#logs.length)];
      this.#nowMs += 1;
      log.records.push({ offset: log.next++, tick, takenMs: this.#nowMs });
    }
    this.#news.fire();
  }

  begin(partition: number, count: number): void {
    const log = this.#logs[partition];
    const records = log.records.filter(({ offset }) => offset >= log.taken).slice(0, count);
    const last = records.at(-1);
    if (last === undefined) return;
    log.taken = last.offset + 1;
    const tx = this.#tx++;
    this.#running.set(tx, { rows: records.map(({ tick }) => ({ tick, tx })), partition, upTo: last.offset });
  }

  /** The first that was begun of a partition: acknowledged in order, as one member's batches are. */
  commit(partition: number): void {
    for (const [tx, { rows, partition: own, upTo }] of this.#running) {
      if (own !== partition) continue;
      for (const row of rows) if (!this.#rows.has(textOf(row.tick))) this.#rows.set(textOf(row.tick), row);
      this.#running.delete(tx);
      this.#committed.push({ partition, upTo });
      return;
    }
  }

  readonly #committed: { partition: number; upTo: number }[] = [];

  acknowledge(): void {
    const done = this.#committed.shift();
    if (done !== undefined) this.#logs[done.partition].acknowledged = done.upTo;
  }

  /** What all groups have acknowledged, but for so many of it. */
  trim(partition: number, kept: number): void {
    const log = this.#logs[partition];
    const first = Math.max(log.first, log.acknowledged + 1 - kept);
    log.records = log.records.filter(({ offset }) => offset >= first);
    log.first = first;
  }

  get bus(): StreamBus {
    const bus: Partial<StreamBus> = {
      kind: 'postgres',
      partitions: () => this.#logs.length,
      compare: (a, b) => Number(a) - Number(b),
      logName: () => Promise.resolve('model'),
      groups: () =>
        Promise.resolve(this.hasGroup ? this.#logs.map((_, partition) => this.#groupOf(partition)) : []),
      end: (_, partition) => {
        const { next } = this.#logs[partition];
        return Promise.resolve(next === 0 ? null : String(next - 1));
      },
      read: (_, partition, after, limit) => Promise.resolve(this.#read(partition, after, limit)),
      follow: (_, partition, after) => Promise.resolve(this.#follow(partition, after)),
    };
    return bus as StreamBus;
  }

  get table(): LiveTickTable {
    const table: Pick<LiveTickTable, 'snapshot' | 'symbols' | 'newest' | 'visible' | 'slice' | 'firstAt'> = {
      snapshot: () => {
        const running = [...this.#running.keys()];
        return Promise.resolve(`${running[0] ?? this.#tx}:${this.#tx}:${running.join(',')}`);
      },
      symbols: (names, provider) => {
        const found = new Map<string, SymbolName>();
        for (const { provider: own, symbol } of this.rows)
          if ((names === null || names.includes(symbol)) && (provider === null || provider === own))
            found.set(`${own}|${symbol}`, { provider: own, symbol });
        return Promise.resolve([...found.values()]);
      },
      newest: (symbols) => Promise.resolve(symbols.map((name) => this.#newest(name))),
      visible: (keys, snapshot) =>
        Promise.resolve(
          keys.map((key) => {
            const row = this.#rows.get(textOf(key));
            return row !== undefined && isShown(row.tx, snapshot);
          }),
        ),
      slice: (slice) => Promise.resolve(this.#slice(slice)),
      firstAt: (symbols, from) => {
        const names = new Set(symbols.map(({ provider, symbol }) => `${provider}|${symbol}`));
        const times = this.rows
          .filter(({ provider, symbol, ts }) => ts >= from && names.has(`${provider}|${symbol}`))
          .map(({ ts }) => ts);
        return Promise.resolve(times.length === 0 ? null : times.reduce((a, b) => (a < b ? a : b)));
      },
    };
    return table as LiveTickTable;
  }

  #groupOf(partition: number): GroupInfo {
    const { acknowledged } = this.#logs[partition];
    return {
      topic: 'mdp.events',
      group: 'tick-consumer',
      partition,
      pending: 0,
      lag: 0,
      lagMs: 0,
      idleMs: 0,
      members: 1,
      acknowledged: acknowledged < 0 ? null : String(acknowledged),
    };
  }

  #newest({ provider, symbol }: SymbolName): { ts: bigint; seq: bigint } | null {
    let newest: StoredTick | null = null;
    for (const tick of this.rows)
      if (
        tick.provider === provider &&
        tick.symbol === symbol &&
        (newest === null || tick.ts > newest.ts || (tick.ts === newest.ts && tick.seq > newest.seq))
      )
        newest = tick;
    return newest;
  }

  #slice({ symbols, from, to, after, snapshot, without, limit }: TickSlice): StoredTick[] {
    const names = new Set(symbols.map(({ provider, symbol }) => `${provider}|${symbol}`));
    return [...this.#rows.values()]
      .filter(
        ({ tick, tx }) =>
          names.has(`${tick.provider}|${tick.symbol}`) &&
          tick.ts >= from &&
          tick.ts < to &&
          (after === null || compareTicks(tick, after) > 0) &&
          isShown(tx, snapshot) &&
          (without === null || !isShown(tx, without)),
      )
      .map(({ tick }) => tick)
      .sort(compareTicks)
      .slice(0, limit);
  }

  #read(partition: number, after: string | null, limit: number): Delivery[] {
    const from = after === null ? 0 : Number(after) + 1;
    return this.#logs[partition].records
      .filter(({ offset }) => offset >= from)
      .slice(0, limit)
      .map((record) => deliveryOf(partition, record));
  }

  #follow(partition: number, after: string | null): BusFollower {
    let position = after;
    const closing = new AbortController();
    return {
      next: async (limit, waitMs) => {
        const late = new AbortController();
        const timer = setTimeout(() => late.abort(), waitMs);
        const end = AbortSignal.any([closing.signal, late.signal]);
        for (;;) {
          const log = this.#logs[partition];
          if (position !== null && Number(position) + 1 < log.first) {
            position = String(log.first - 1);
            clearTimeout(timer);
            throw new TrimmedError('mdp.events', partition, String(log.first));
          }
          const found = this.#read(partition, position, limit);
          position = found.at(-1)?.position ?? position;
          if (found.length > 0 || end.aborted) {
            clearTimeout(timer);
            return found;
          }
          await unlessAborted(this.#news.wait(), end);
        }
      },
      close: () => {
        closing.abort();
        return Promise.resolve();
      },
    };
  }
}

function isShown(tx: bigint, snapshot: string): boolean {
  const [, end, running] = snapshot.split(':');
  return tx < BigInt(end) && !running.split(',').includes(String(tx));
}

/** (ts, provider, symbol, seq) */
export function compareTicks(a: TickKey, b: TickKey): number {
  if (a.ts !== b.ts) return a.ts < b.ts ? -1 : 1;
  if (a.provider !== b.provider) return a.provider < b.provider ? -1 : 1;
  if (a.symbol !== b.symbol) return a.symbol < b.symbol ? -1 : 1;
  return a.seq < b.seq ? -1 : a.seq > b.seq ? 1 : 0;
}

function deliveryOf(partition: number, { offset, tick, takenMs }: Record): Delivery {
  const { provider, symbol, ts, seq, price, size, bid, ask } = tick;
  const json = {
    kind: 'tick',
    provider,
    symbol,
    src_ts: formatMicros(ts),
    ingest_ts: formatMicros(ts),
    seq: seq.toString(),
    price,
    size,
    bid,
    ask,
  };
  return {
    topic: 'mdp.events',
    partition,
    position: String(offset),
    takenMs,
    key: symbol,
    eventId: null,
    encoding: 'json',
    data: encoder.encode(JSON.stringify(json)),
    attempts: 1,
  };
}
