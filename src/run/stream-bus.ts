import type { BusLog, GroupMarks, StreamBus } from '../bus/bus.ts';
import { KafkaBus } from '../bus/kafka.ts';
import { PostgresBus } from '../bus/postgres.ts';
import { openRedisBus } from '../bus/redis.ts';
import { systemClock } from '../core/time.ts';
import type { StreamingConfig } from './streaming-config.ts';

/** Topics that do not bear a name of the configuration. */
const EVENTS_TOPIC = 'mdp.events';
const SIGNALS_TOPIC = 'mdp.signals';

export interface BusParts {
  /** postgres://…, for bus.type postgres */
  databaseUrl: string | null;
  /** shown to the server's operators */
  clientName: string;
  marks: GroupMarks;
  log: BusLog;
}

/** The topic of market events. */
export function eventsTopic({ bus }: StreamingConfig): string {
  return bus.type === 'redis' ? bus.redis.stream : EVENTS_TOPIC;
}

/** The bus that the configuration names. Rejects with BusError. */
export async function openBus(config: StreamingConfig, parts: BusParts): Promise<StreamBus> {
  const { bus } = config;
  const { databaseUrl, clientName, marks, log } = parts;
  const signals = bus.type === 'redis' ? bus.redis.signals_stream : SIGNALS_TOPIC;
  const options = {
    partitions: { [eventsTopic(config)]: bus.partitions, [signals]: bus.partitions },
    maxBytes: bus.max_bytes,
    clientName,
    marks,
    log,
    nowMs: () => Number(systemClock.nowMicros() / 1000n),
    random: Math.random,
  };
  switch (bus.type) {
    case 'redis':
      return openRedisBus(bus.redis.uri, options);
    case 'postgres': {
      if (databaseUrl === null) throw new Error('bus.type postgres needs DATABASE_URL');
      return new PostgresBus({ ...options, databaseUrl });
    }
    case 'kafka':
      return KafkaBus.open({ ...options, brokers: bus.kafka.brokers });
  }
}
