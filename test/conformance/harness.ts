import { testEnv } from '../support/bus/env.ts';
import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';
import {
  BusError,
  type BusOptions,
  type Delivery,
  type GroupMember,
  type OutgoingRecord,
  type StreamBus,
} from '../../src/bus/bus.ts';
import { FileCheckpoints } from '../support/bus/file-checkpoints.ts';
import { until } from '../support/until.ts';
import type { ChildTask } from './child.ts';
import type { BusServer } from './bus-server.ts';

/** One case: what it is called is what the bus promises. */
export interface BusCase {
  name: string;
  run: (t: Test, harness: BusHarness) => Promise<void>;
}

/** how long a member waits for the first record of a call in these cases, ms */
export const WAIT_MS = 500;
/** a member that is silent for so long is dead, ms; long enough for the frozen server's case */
export const TAKEOVER_MS = 1500;

const encoder = new TextEncoder();

/** A record whose text tells its key and number; the eventId is `key|number`. */
export function record(key: string, number: number): OutgoingRecord {
  const data = encoder.encode(JSON.stringify({ key, number }));
  return { key, eventId: `${key}|${number}`, data, encoding: 'json' };
}

/** Records `from` … `from + count − 1` of a key. */
export function recordsOf(key: string, count: number, from = 0): OutgoingRecord[] {
  return Array.from({ length: count }, (_, at) => record(key, from + at));
}

export function idsOf(records: readonly { eventId: string | null }[]): string[] {
  return records.map(({ eventId }) => eventId ?? '(none)');
}

/** The same ids, each at least once. */
export function sorted(ids: Iterable<string>): string[] {
  return [...new Set(ids)].sort();
}

/** What one case uses: a topic, buses, members in processes of their own; all of it is closed at its end. */
export class BusHarness {
  readonly server: BusServer;
  readonly checkpoints: FileCheckpoints;
  readonly #folder = mkdtempSync(join(tmpdir(), 'bus-marks-'));
  readonly #partitions: Record<string, number> = {};
  readonly #buses: StreamBus[] = [];
  readonly #children: ChildProcess[] = [];

  constructor(server: BusServer) {
    this.server = server;
    this.checkpoints = new FileCheckpoints(this.#folder);
  }

  /** A topic that nobody else uses. Ask before the bus is opened. */
  topic(partitions = 1): string {
    const topic = `case.${randomBytes(6).toString('hex')}`;
    this.#partitions[topic] = partitions;
    return topic;
  }

  async bus(overrides: Partial<BusOptions> = {}): Promise<StreamBus> {
    const bus = await this.server.open({
      partitions: { ...this.#partitions },
      maxBytes: 2 ** 31,
      clientName: 'conformance',
      checkpoints: this.checkpoints,
      env: testEnv(),
      ...overrides,
    });
    this.#buses.push(bus);
    return bus;
  }

  /** A member in a process of its own that took `count` records and holds them until it is killed. */
  async holder(
    task: Pick<ChildTask, 'topic' | 'group' | 'member' | 'count'>,
  ): Promise<{ taken: { eventId: string; attempts: number }[]; kill: () => Promise<void> }> {
    const { child, line, gone } = this.#start({ ...task, does: 'take', takeoverMs: TAKEOVER_MS });
    const taken = JSON.parse(await line()) as { eventId: string; attempts: number }[];
    const kill = async (): Promise<void> => {
      child.kill('SIGKILL');
      await gone;
    };
    return { taken, kill };
  }

  /** A member in a process of its own that acknowledges what it takes; `seen` is told each batch before it does. */
  worker(
    task: Pick<ChildTask, 'topic' | 'group' | 'member' | 'count'>,
    seen: (ids: string[]) => void,
  ): { kill: () => Promise<void> } {
    const { child, lines, gone } = this.#start({ ...task, does: 'work', takeoverMs: TAKEOVER_MS });
    lines.on('line', (line) => seen(JSON.parse(line) as string[]));
    const read = new Promise<void>((resolve) => lines.once('close', () => resolve()));
    const kill = async (): Promise<void> => {
      child.kill('SIGKILL');
      await Promise.all([gone, read]);
    };
    return { kill };
  }

  /** Moves the topic's inbox in a process of its own, until it is killed; `count` records at most in a transaction. */
  mover(task: Pick<ChildTask, 'topic' | 'group' | 'member' | 'count'>): { kill: () => Promise<void> } {
    const { child, gone } = this.#start({ ...task, does: 'move', takeoverMs: TAKEOVER_MS });
    const kill = async (): Promise<void> => {
      child.kill('SIGKILL');
      await gone;
    };
    return { kill };
  }

  /** Uses everything once in a process of its own, closes the bus, and answers with the code the process ended with. */
  async tour(task: Pick<ChildTask, 'topic' | 'group' | 'member'>): Promise<number | null> {
    const { line, gone } = this.#start({ ...task, count: 0, does: 'tour', takeoverMs: TAKEOVER_MS });
    let ended: { code: number | null } | null = null;
    void gone.then((code) => (ended = { code }));
    await line();
    return (await until('the process ends by itself', () => ended, { deadlineMs: 20_000 })).code;
  }

  async close(): Promise<void> {
    for (const child of this.#children) child.kill('SIGKILL');
    await Promise.all(this.#buses.map((bus) => bus.close()));
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #start(task: Omit<ChildTask, 'module' | 'address' | 'checkpoints' | 'partitions'>): {
    child: ChildProcess;
    lines: Interface;
    /** the first one; rejects when the process ends without it */
    line: () => Promise<string>;
    gone: Promise<number | null>;
  } {
    const whole: ChildTask = {
      ...task,
      module: this.server.opener.module.href,
      address: this.server.opener.address,
      checkpoints: this.#folder,
      partitions: this.#partitions,
    };
    const program = fileURLToPath(new URL('child.ts', import.meta.url));
    const child = spawn(process.execPath, [program, JSON.stringify(whole)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.#children.push(child);
    const lines = createInterface(child.stdout);
    const gone = new Promise<number | null>((resolve) => child.once('exit', resolve));
    const line = (): Promise<string> =>
      new Promise((resolve, reject) => {
        lines.once('line', resolve);
        void gone.then((code) => reject(new Error(`the process ended with ${code} and said nothing`)));
      });
    return { child, lines, line, gone };
  }
}

/** Calls again as long as the bus says that waiting mends it. */
export async function insist<T>(call: () => Promise<T>): Promise<T> {
  return (
    await until('the bus can be reached', async () => {
      try {
        return { answer: await call() };
      } catch (error) {
        if (error instanceof BusError && (error.kind === 'unreachable' || error.kind === 'full')) return null;
        throw error;
      }
    })
  ).answer;
}

export interface Collected {
  all: Delivery[];
  ids: string[];
}

/** Takes from a member until `enough` says so, acknowledging each batch unless told otherwise; insists through outages. */
export async function collect(
  member: GroupMember,
  enough: (ids: Set<string>) => boolean,
  options: { limit?: number; acknowledge?: boolean; into?: Delivery[] } = {},
): Promise<Collected> {
  const all = options.into ?? [];
  const ids = new Set<string>(idsOf(all));
  await until(
    'enough records',
    async () => {
      if (enough(ids)) return true;
      const batch = await insist(() => member.next(options.limit ?? 1000, WAIT_MS));
      all.push(...batch);
      for (const id of idsOf(batch)) ids.add(id);
      if (options.acknowledge !== false) await insist(() => member.acknowledge(batch));
      return enough(ids);
    },
    { pollMs: 0, progress: () => ids.size, context: () => `${ids.size} records so far` },
  );
  return { all, ids: idsOf(all) };
}

/** Pending of a group over all partitions. */
export async function pendingOf(bus: StreamBus, topic: string, group: string): Promise<number> {
  const infos = await insist(() => bus.groups(topic));
  return infos.filter((info) => info.group === group).reduce((sum, { pending }) => sum + pending, 0);
}
