import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { eventIdOf } from '../../../src/core/market/event-id.ts';
import { encodeEvent } from '../../../src/core/market/codec/encode.ts';
import type { TickEvent } from '../../../src/core/market/event.ts';
import { formatMicros, systemClock } from '../../../src/core/time.ts';
import { until } from '../../support/until.ts';
import { BusHarness, paced, TOPIC, type BusName } from '../bus/harness.ts';
import { mebibytes, type Figures, type ScenarioContext } from '../harness.ts';
import { ServedApi, TOKEN } from './server.ts';

const UNLIMITED = { sections: 'api:\n  rate_limit: 0\n' };
/**
 * V8 lets a heap grow before it looks for garbage, where it may: with this limit it may not, and a process that held on to more
 * would end.
 */
const SMALL_HEAP = { NODE_OPTIONS: '--max-old-space-size=256' };
const GROWTH_BYTES_MAX = 96 * 2 ** 20;

export interface SlowClients {
  clients: number;
  events: number;
  perSecond: number;
}

/** Must show 3: clients that read nothing, while events flow: the server's memory stays where it was. */
export function isNotFilledBySlowClients(
  context: ScenarioContext,
  bus: BusName,
  { clients, events, perSecond }: SlowClients,
): Promise<Figures> {
  return BusHarness.with(
    bus,
    context,
    async (harness) => {
      const consumer = harness.consumer('ticks-1');
      const api = await ServedApi.start(harness, [], SMALL_HEAP);
      const sockets = await Promise.all(
        Array.from({ length: clients }, () => idle(api, '/v1/stream?topic=ticks')),
      );
      try {
        // what it takes until their buffers, and those of their connections, are full
        await harness.produced(harness.producer(paced(0, events, perSecond)));
        const before = api.program.residentBytes();
        await harness.produced(harness.producer(paced(1, events, perSecond)));
        await harness.untilStored(2 * events, consumer);
        const after = api.program.residentBytes();
        assert.ok(after - before < GROWTH_BYTES_MAX, `${mebibytes(before)} became ${mebibytes(after)}`);
        assert.equal((await fetch(`${api.url}/health`)).status, 200);
        return { clients, 'events beside them': events, before: mebibytes(before), after: mebibytes(after) };
      } finally {
        for (const socket of sockets) socket.destroy();
        assert.equal(await api.program.stop(), 0, api.program.tail);
      }
    },
    UNLIMITED,
  );
}

/** Asks, and takes nothing of the answer but its head. */
async function idle(api: ServedApi, path: string): Promise<Socket> {
  const socket = asking(api, path);
  const [head] = (await once(socket, 'data')) as [Buffer];
  assert.match(head.toString(), /^HTTP\/1\.1 200 /);
  socket.pause();
  return socket;
}

function asking(api: ServedApi, path: string): Socket {
  const { hostname, port, host } = new URL(api.url);
  const socket = connect(Number(port), hostname);
  socket.on('error', () => {});
  socket.write(`GET ${path} HTTP/1.1\r\nhost: ${host}\r\nauthorization: Bearer ${TOKEN}\r\n\r\n`);
  return socket;
}

export interface LiveLatency {
  clients: number;
  perSecond: number;
  seconds: number;
}

const TURN_MS = 10;
const SEQ = /"seq":"(\d+)"/;
const SEQ_TEXT_BYTES = 400;

/**
 * Must show 3: from the answer that events are on the bus to the client, so many clients at once, each of whom gets everything. Those
 * who publish and those who read are this process, on the same cores as the server.
 */
export function isPromptForMany(
  context: ScenarioContext,
  bus: BusName,
  { clients, perSecond, seconds }: LiveLatency,
): Promise<Figures> {
  return BusHarness.with(
    bus,
    context,
    async (harness) => {
      const consumer = harness.consumer('ticks-1');
      await harness.produced(harness.producer(paced(0, 1_000, 1_000)));
      await harness.untilStored(1_000, consumer);
      const api = await ServedApi.start(harness);
      const committedMs = new Map<number, number>();
      const waitsMs: number[] = [];
      let open = 0;
      const sockets = Array.from({ length: clients }, () => {
        const socket = asking(api, '/v1/stream?topic=ticks');
        socket.once('data', () => (open += 1));
        // the first event of a piece has waited longest
        socket.on('data', (bytes: Buffer) => {
          const seq = SEQ.exec(bytes.subarray(0, SEQ_TEXT_BYTES).toString('latin1'))?.[1];
          const sentMs = seq === undefined ? undefined : committedMs.get(Number(seq));
          if (sentMs !== undefined) waitsMs.push(performance.now() - sentMs);
        });
        return socket;
      });
      try {
        await until('all clients are served', () => open === clients, { context: () => api.program.tail });
        const published = await publish(harness, { perSecond, seconds }, committedMs);
        await until('the last events arrive', () => waitsMs.length > 0);
        await delay(500);
        waitsMs.sort((a, b) => a - b);
        const at = (share: number): string =>
          `${(waitsMs[Math.floor(waitsMs.length * share)] ?? 0).toFixed(1)} ms`;
        return {
          clients,
          'events/s': Math.round(published / seconds),
          'pieces seen': waitsMs.length,
          p50: at(0.5),
          p99: at(0.99),
        };
      } finally {
        for (const socket of sockets) socket.destroy();
        assert.equal(await api.program.stop(), 0, api.program.tail);
      }
    },
    UNLIMITED,
  );
}

/** Events of now at a steady rate, a publish every few ms; notes when each was answered. Returns how many. */
async function publish(
  { bus }: BusHarness,
  { perSecond, seconds }: { perSecond: number; seconds: number },
  committedMs: Map<number, number>,
): Promise<number> {
  const beganMs = performance.now();
  let seq = 1;
  while (seq <= perSecond * seconds) {
    const due = Math.floor(((performance.now() - beganMs) / 1000) * perSecond);
    const events: TickEvent[] = [];
    for (; seq <= Math.min(due, perSecond * seconds); seq += 1) events.push(tickOf(seq));
    if (events.length > 0) {
      await bus.publish(
        TOPIC,
        events.map((event) => ({
          key: event.symbol,
          eventId: event.eventId,
          data: encodeEvent(event, 'json'),
          encoding: 'json' as const,
        })),
      );
      const nowMs = performance.now();
      for (const event of events) committedMs.set(Number(event.seq), nowMs);
    }
    await delay(TURN_MS);
  }
  return seq - 1;
}

function tickOf(seq: number): TickEvent {
  const [provider, symbol, srcTs] = ['prove', `S${seq % 20}`, systemClock.nowMicros()];
  return {
    kind: 'tick',
    provider,
    symbol,
    srcTs,
    ingestTs: srcTs,
    seq: BigInt(seq),
    origin: 'live',
    replayRunId: null,
    price: 100 + (seq % 100) / 100,
    size: 1,
    bid: null,
    ask: null,
    side: null,
    eventId: eventIdOf(provider, symbol, formatMicros(srcTs), BigInt(seq), null),
  };
}
