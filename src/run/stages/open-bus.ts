import type { Env } from '../../core/env.ts';
import { readFileSync } from 'node:fs';
import { BusError, type GroupCheckpoints, type LogEnds, type StreamBus } from '../../bus/bus.ts';
import { PostgresBus } from '../../bus/postgres/bus.ts';
import { openRedisBus } from '../../bus/redis/bus.ts';
import { WEBHOOK_TOPIC } from '../../core/market/webhook-tick.ts';
import type { StreamingConfig } from '../config/streaming/load.ts';

/** Topics whose names the configuration does not set. */
const EVENTS_TOPIC = 'mdp.events';
const SIGNALS_TOPIC = 'mdp.signals';

export interface BusParts {
  /** postgres://…, for bus.type postgres */
  databaseUrl: string | null;
  /** shown to the server's operators */
  clientName: string;
  checkpoints: GroupCheckpoints;
  /** ages that outlive this process; a program that does not trim needs none */
  ends?: LogEnds;
  env: Env;
}

/** The topic of market events. */
export function eventsTopic({ bus }: StreamingConfig): string {
  return bus.type === 'redis' ? bus.redis.stream : EVENTS_TOPIC;
}

/** The topic of signals. */
export function signalsTopic({ bus }: StreamingConfig): string {
  return bus.type === 'redis' ? bus.redis.signals_stream : SIGNALS_TOPIC;
}

/**
 * Flushers share what the webhook took: on kafka a partition has one of them, on the others one partition serves them all, and
 * with several the topic's own name, where other programs write, would be an inbox.
 */
function partitionsOf(config: StreamingConfig): Record<string, number> {
  const { type, partitions } = config.bus;
  return {
    [eventsTopic(config)]: partitions,
    [signalsTopic(config)]: partitions,
    [WEBHOOK_TOPIC]: type === 'kafka' ? partitions : 1,
  };
}

/** The bus that the configuration names. Rejects with BusError. */
export async function openBus(config: StreamingConfig, parts: BusParts): Promise<StreamBus> {
  const { bus } = config;
  const { databaseUrl, clientName, checkpoints, ends, env } = parts;
  const options = {
    partitions: partitionsOf(config),
    maxBytes: bus.max_bytes,
    clientName,
    checkpoints,
    ...(ends === undefined ? {} : { ends }),
    env,
  };
  switch (bus.type) {
    case 'redis':
      return openRedisBus(bus.redis.uri, {
        ...options,
        waitAof: bus.redis.wait_aof,
        ...(bus.redis.tls === undefined ? {} : { tls: readTls('bus.redis.tls', bus.redis.tls) }),
      });
    case 'postgres': {
      if (databaseUrl === null) throw new Error('bus.type postgres needs DATABASE_URL');
      return new PostgresBus({ ...options, databaseUrl });
    }
    case 'kafka': {
      // loaded where it is used: its client takes longer to load than everything else together (0.7 s of CPU at each start)
      const { KafkaBus } = await import('../../bus/kafka/bus.ts');
      return KafkaBus.open({
        ...options,
        brokers: bus.kafka.brokers,
        ...(bus.kafka.sasl === undefined ? {} : { sasl: bus.kafka.sasl }),
        ...(bus.kafka.tls === undefined ? {} : { tls: readTls('bus.kafka.tls', bus.kafka.tls) }),
      });
    }
  }
}

interface Tls {
  ca?: string;
  cert?: string;
  key?: string;
  servername?: string;
}

/** The files that the configuration names. @throws BusError `setup` naming the one that cannot be read */
function readTls(
  place: string,
  { ca, cert, key, servername }: { [K in keyof Tls]: Tls[K] | undefined },
): Tls {
  const read = (name: string, path: string | undefined): Record<string, string> => {
    if (path === undefined) return {};
    try {
      return { [name]: readFileSync(path, 'utf8') };
    } catch (error) {
      const code = (error as { code?: string }).code ?? (error as Error).message;
      throw new BusError('setup', `${place}.${name}: ${path} cannot be read (${code})`);
    }
  };
  return {
    ...read('ca', ca),
    ...read('cert', cert),
    ...read('key', key),
    ...(servername === undefined ? {} : { servername }),
  };
}
