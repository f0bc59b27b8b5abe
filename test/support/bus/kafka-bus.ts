import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { Admin, Producer } from '@platformatic/kafka';
import { KafkaBus } from '../../../src/bus/kafka/bus.ts';
import type { BusOpener, BusServer } from '../../conformance/bus-server.ts';
import { inboxCases } from '../../conformance/inbox-cases.ts';
import { freePort } from '../servers/free-port.ts';
import { noKafka, startKafka } from '../servers/kafka.ts';
import { TcpProxy } from '../servers/proxy.ts';

const REQUEST_TIMEOUT_MS = 2000;

/** @param address host:port, with /classic behind it to keep to the older group protocol */
export const openBus: BusOpener = (address, options) => {
  const [broker, protocol] = address.split('/');
  return KafkaBus.open({
    ...options,
    brokers: [broker],
    requestTimeoutMs: REQUEST_TIMEOUT_MS,
    ...(protocol === 'classic' ? { groupProtocol: 'classic' as const } : {}),
  });
};

/** Kafka for the conformance suite, behind a proxy that can cut its connections. */
export async function startKafkaBus(
  protocol: 'consumer' | 'classic' = 'consumer',
): Promise<BusServer | { skip: string }> {
  const missing = noKafka() || noKcat();
  if (missing !== false) return { skip: missing };
  const port = await freePort();
  const proxy = await TcpProxy.start(`127.0.0.1:${port}`);
  const kafka = await startKafka({ port, advertisedPort: Number(proxy.address.split(':')[1]) });
  const address = protocol === 'classic' ? `${proxy.address}/classic` : proxy.address;
  return {
    kind: 'kafka',
    opener: { module: new URL(import.meta.url), address },
    trimsExactly: true,
    except: {
      ...Object.fromEntries(
        inboxCases.map(({ name }) => [name, 'producers of Kafka choose the partition: there is no inbox']),
      ),
      'a living member is not taken for dead because the server stood still':
        'the group coordinator ends sessions by its own clock, often before it reads the heartbeats that waited for it',
    },
    open: (options) => openBus(address, options),
    crash: () => kafka.crash(),
    cutConnections: async () => proxy.cutAll(),
    freeze: () => kafka.freeze(),
    thaw: () => kafka.thaw(),
    foreign: (topic, key, text) => kcatProduce(proxy.address, topic, text, key),
    async foreignMany(topic, events) {
      for (const { key, text } of events) await kcatProduce(proxy.address, topic, text, key);
    },
    foreignAt: (topic, text, claimedMs) => produceAt(proxy.address, topic, text, claimedMs),
    async stop() {
      await kafka.stop();
      await proxy.stop();
    },
  };
}

/** Why kcat cannot be used, as tap's skip wants it. */
export function noKcat(): false | string {
  return spawnSync('kcat', ['-V'], { stdio: 'ignore' }).error === undefined
    ? false
    : 'no kcat on this machine';
}

/** One message by kcat, with a key or without one. */
export async function kcatProduce(
  broker: string,
  topic: string,
  text: string,
  key?: string,
  more: readonly string[] = [],
): Promise<void> {
  const keyed = key === undefined ? [] : ['-K', '\t'];
  const kcat = spawn('kcat', ['-P', '-b', broker, '-t', topic, ...keyed, ...more], {
    stdio: ['pipe', 'inherit', 'inherit'],
  });
  kcat.stdin.end(key === undefined ? text : `${key}\t${text}`);
  const [code] = (await once(kcat, 'exit')) as [number | null];
  if (code !== 0) throw new Error(`kcat ended with ${code}`);
}

/** One message with a CreateTime of its own, ms; into a topic that an operator made, with the broker's defaults. */
export async function produceAt(
  broker: string,
  topic: string,
  text: string,
  claimedMs: number,
): Promise<void> {
  const client = { clientId: 'foreign', bootstrapBrokers: [broker] };
  const admin = new Admin(client);
  const producer = new Producer(client);
  try {
    if (!(await admin.listTopics()).includes(topic)) {
      // the retention of the broker's defaults would delete it
      const configs = [{ name: 'retention.ms', value: '-1' }];
      await admin.createTopics({ topics: [topic], partitions: 1, configs });
    }
    const message = { topic, partition: 0, value: Buffer.from(text), timestamp: BigInt(claimedMs) };
    await producer.send({ messages: [message] });
  } finally {
    await Promise.all([admin.close(), producer.close()]);
  }
}
