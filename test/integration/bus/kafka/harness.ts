import { testEnv } from '../../../support/bus/env.ts';
import type { LogLine } from '../../../../src/core/env.ts';
import { Admin } from '@platformatic/kafka';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';

import type { Delivery, GroupMember } from '../../../../src/bus/bus.ts';
import { KafkaBus, type KafkaBusOptions } from '../../../../src/bus/kafka/bus.ts';
import { insist } from '../../../conformance/harness.ts';
import { FileCheckpoints } from '../../../support/bus/file-checkpoints.ts';
import { freePort } from '../../../support/servers/free-port.ts';
import { startKafka, type TestKafka } from '../../../support/servers/kafka.ts';
import { TcpProxy } from '../../../support/servers/proxy.ts';

export interface Node {
  kafka: TestKafka;
  /** before the port that clients are told of */
  proxy: TcpProxy;
  address: string;
  stop(): Promise<void>;
}

export async function startNode(settings: Record<string, string> = {}): Promise<Node> {
  const port = await freePort();
  const proxy = await TcpProxy.start(`127.0.0.1:${port}`);
  const advertisedPort = Number(proxy.address.split(':')[1]);
  const kafka = await startKafka({ port, advertisedPort, settings });
  return {
    kafka,
    proxy,
    address: proxy.address,
    async stop() {
      await kafka.stop();
      await proxy.stop();
    },
  };
}

export interface Harness {
  address: string;
  checkpoints: FileCheckpoints;
  folder: string;
  said: { level: string; message: string; fields: Record<string, unknown> }[];
  /** a topic that nobody else uses; ask before a bus is opened */
  topic(partitions?: number, suffix?: string): string;
  open(overrides?: Partial<KafkaBusOptions>): Promise<KafkaBus>;
  admin(): Admin;
  partitions: Record<string, number>;
}

export function harnessFor(t: Test, { address }: { address: string }): Harness {
  const folder = mkdtempSync(join(tmpdir(), 'kafka-marks-'));
  const closing: (() => Promise<unknown>)[] = [];
  const partitions: Record<string, number> = {};
  const said: Harness['said'] = [];
  const log: LogLine = (level, message, fields) => said.push({ level, message, fields });
  const checkpoints = new FileCheckpoints(folder);
  t.teardown(async () => {
    await Promise.all(closing.map((close) => close()));
    rmSync(folder, { recursive: true, force: true });
  });
  return {
    address,
    checkpoints,
    folder,
    said,
    partitions,
    topic(count = 1, suffix = '') {
      const topic = `t.${randomBytes(5).toString('hex')}${suffix}`;
      partitions[topic] = count;
      return topic;
    },
    async open(overrides = {}) {
      const bus = await KafkaBus.open({
        brokers: [address],
        partitions: { ...partitions },
        maxBytes: 2 ** 31,
        clientName: 'integration',
        checkpoints,
        env: testEnv({ log }),
        requestTimeoutMs: 2000,
        ...overrides,
      });
      closing.push(() => bus.close());
      return bus;
    },
    admin() {
      const admin = new Admin({ clientId: 'operator', bootstrapBrokers: [address] });
      closing.push(() => admin.close());
      return admin;
    },
  };
}

/** Takes and acknowledges until told to stop; never more than one call at a time. */
export function work(
  member: GroupMember,
  saw: (batch: readonly Delivery[]) => void,
): { stop: () => Promise<void> } {
  const ending = new AbortController();
  const done = (async () => {
    while (!ending.signal.aborted) {
      const batch = await insist(() => member.next(50, 100));
      saw(batch);
      await insist(() => member.acknowledge(batch));
    }
  })();
  done.catch(() => {});
  return {
    stop() {
      ending.abort();
      return done;
    },
  };
}
