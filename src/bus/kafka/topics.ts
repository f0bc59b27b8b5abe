import { BusError } from '../bus.ts';
import type { KafkaCluster } from './cluster.ts';
import { busError, hasCode, KafkaCode } from './errors.ts';

const TOPIC_RESOURCE = 2;
const SET = 0;
/** Kafka deletes whole segments: small ones free the disk soon after trim() */
const SEGMENT_BYTES = 64 * 1024 * 1024;
/** of a batch, which may be a single record; the broker's default */
const MAX_BATCH_BYTES = 1_048_588;
/** a dead letter contains the refused record and the reason: it must always fit */
const MAX_DEAD_LETTER_BYTES = 8 * 1024 * 1024;
const DEAD_LETTERS = '.dlq';

/** The broker must never delete records of our topics by itself. */
const KEPT: Readonly<Record<string, string>> = {
  'cleanup.policy': 'delete',
  'retention.ms': '-1',
  'retention.bytes': '-1',
};

export interface KafkaTopic {
  /** of one batch */
  maxBatchBytes: number;
  replicas: number;
  minInsyncReplicas: number;
  /** every record is flushed to the disk before it is acknowledged */
  flushed: boolean;
}

/** The topics of the bus: created when absent, described once. */
export class KafkaTopics {
  readonly #cluster: KafkaCluster;
  readonly #partitions: Readonly<Record<string, number>>;
  readonly #ready = new Map<string, Promise<KafkaTopic>>();

  constructor(cluster: KafkaCluster, partitions: Readonly<Record<string, number>>) {
    this.#cluster = cluster;
    this.#partitions = partitions;
  }

  partitions(topic: string): number {
    return (Object.hasOwn(this.#partitions, topic) ? this.#partitions[topic] : undefined) ?? 1;
  }

  /** Those in the configuration and those used since. */
  names(): string[] {
    return [...new Set([...Object.keys(this.#partitions), ...this.#ready.keys()])];
  }

  /** Creates the topic when it is absent. @throws BusError */
  ready(topic: string): Promise<KafkaTopic> {
    const known = this.#ready.get(topic);
    if (known !== undefined) return known;
    const looking = this.#make(topic);
    this.#ready.set(topic, looking);
    looking.catch(() => this.#ready.delete(topic));
    return looking;
  }

  /** Describes the topic again the next time: its limits may have been changed. */
  forget(topic: string): void {
    this.#ready.delete(topic);
  }

  /** Those of the names that exist in the cluster. */
  async existing(names: readonly string[]): Promise<string[]> {
    return this.#cluster.retry('looking for topics', async () => {
      const there = new Set(await this.#cluster.admin.listTopics());
      return names.filter((name) => there.has(name));
    });
  }

  /** Kafka gives every topic its own id, also one that is created again under an old name. */
  async logName(topic: string): Promise<string> {
    const id = await this.#cluster.retry(`looking at topic ${topic}`, async () => {
      const { topics } = await this.#cluster.admin.metadata({ topics: [topic] });
      return topics.get(topic)?.id;
    });
    if (id === undefined) throw new BusError('unreachable', `topic ${topic} is not there`);
    return `kafka:${id}`;
  }

  async #make(topic: string): Promise<KafkaTopic> {
    const wanted = this.partitions(topic);
    if ((await this.existing([topic])).length === 0) await this.#create(topic, wanted);
    const found = await this.#cluster.retry(`looking at topic ${topic}`, async () => {
      const { topics } = await this.#cluster.admin.metadata({ topics: [topic], forceUpdate: true });
      const metadata = topics.get(topic);
      if (metadata === undefined || metadata.partitions.some(({ leader }) => leader < 0)) {
        throw new BusError('unreachable', `topic ${topic} has no leader yet`);
      }
      return metadata;
    });
    if (found.partitionsCount !== wanted) throw otherPartitions(topic, found.partitionsCount, wanted);
    const settings = await this.#settings(topic);
    const { 'max.message.bytes': max, 'min.insync.replicas': insync, 'flush.messages': flush } = settings;
    return {
      maxBatchBytes: Number(max ?? MAX_BATCH_BYTES),
      replicas: Math.min(...found.partitions.map(({ replicas }) => replicas.length)),
      minInsyncReplicas: Number(insync ?? 1),
      flushed: flush === '1',
    };
  }

  async #create(topic: string, partitions: number): Promise<void> {
    const configs = {
      ...KEPT,
      'message.timestamp.type': 'LogAppendTime',
      'segment.bytes': String(SEGMENT_BYTES),
      'max.message.bytes': String(topic.endsWith(DEAD_LETTERS) ? MAX_DEAD_LETTER_BYTES : MAX_BATCH_BYTES),
    };
    await this.#cluster.retry(`making topic ${topic}`, async () => {
      try {
        await this.#cluster.admin.createTopics({
          topics: [topic],
          partitions,
          configs: Object.entries(configs).map(([name, value]) => ({ name, value })),
        });
        this.#cluster.env.log('info', 'kafka topic made', { topic, partitions });
      } catch (error) {
        if (!hasCode(error, KafkaCode.topicAlreadyExists)) throw error;
      }
    });
  }

  /** The settings of a topic, after correcting those that would lose records. */
  async #settings(topic: string): Promise<Record<string, string | null>> {
    const { log } = this.#cluster.env;
    return this.#cluster.retry(`reading the settings of topic ${topic}`, async () => {
      const described = await this.#cluster.admin.describeConfigs({
        resources: [{ resourceType: TOPIC_RESOURCE, resourceName: topic }],
      });
      const settings: Record<string, string | null> = {};
      for (const { name, value } of described[0]?.configs ?? []) settings[name] = value ?? null;
      const wrong = Object.entries(KEPT).filter(([name, value]) => settings[name] !== value);
      if (wrong.length === 0) return settings;
      const fields = { topic, settings: Object.fromEntries(wrong) };
      try {
        await this.#cluster.admin.incrementalAlterConfigs({
          resources: [
            {
              resourceType: TOPIC_RESOURCE,
              resourceName: topic,
              configs: wrong.map(([name, value]) => ({ name, value, configOperation: SET })),
            },
          ],
        });
        log('info', 'kafka topic: settings by which the broker would delete records were changed', fields);
      } catch (error) {
        const { kind, message } = busError(error, 'not changed');
        if (kind === 'unreachable') throw error;
        log('warn', 'kafka topic: the broker may delete records that a group needs', { ...fields, message });
      }
      return settings;
    });
  }
}

function otherPartitions(topic: string, has: number, wanted: number): BusError {
  const mend =
    has < wanted
      ? `add partitions (kafka-topics.sh --alter --partitions ${wanted}) once every group has read it to its end, or set bus.partitions to ${has}`
      : `set bus.partitions to ${has}`;
  return new BusError(
    'setup',
    `topic ${topic} has ${has} partitions, the configuration says ${wanted}: ${mend}`,
  );
}
