import type { KafkaCluster } from '../cluster.ts';
import { busError } from '../errors.ts';

const GROUP_RESOURCE = 32;
const BROKER_RESOURCE = 4;
const SET = 0;
const SESSION = 'consumer.session.timeout.ms';
const HEARTBEAT = 'consumer.heartbeat.interval.ms';
/** a member is dead after missing this many heartbeats */
const HEARTBEATS_A_SESSION = 4;
/** a member learns with its next heartbeat which partitions it was given, ms */
const HEARTBEAT_MS = 3000;

interface Limits {
  session: [number, number];
  heartbeat: [number, number];
}

/**
 * After how long a silent member is dead, ms: `takeoverMs` within the limits of the brokers (which by default allow no less
 * than 45 s with KIP-848). With KIP-848 it is a setting of the group, so the member that joins last decides.
 */
export async function sessionMs(
  cluster: KafkaCluster,
  group: string,
  protocol: 'consumer' | 'classic',
  takeoverMs: number,
): Promise<number> {
  const limits = await brokerLimits(cluster, protocol);
  const session = within(takeoverMs, limits.session);
  if (session > takeoverMs) {
    cluster.env.log('info', 'kafka: the brokers allow no shorter session', {
      group,
      takeoverMs,
      sessionMs: session,
    });
  }
  if (protocol === 'classic') return session;
  const heartbeat = Math.min(
    within(Math.min(session / HEARTBEATS_A_SESSION, HEARTBEAT_MS), limits.heartbeat),
    session - 1,
  );
  try {
    await ask(cluster, group, { [SESSION]: String(session), [HEARTBEAT]: String(heartbeat) });
  } catch (error) {
    const { message } = busError(error, 'not set');
    cluster.env.log('warn', "kafka: the group keeps the brokers' session timeout", {
      group,
      takeoverMs,
      message,
    });
  }
  return session;
}

async function ask(cluster: KafkaCluster, group: string, settings: Record<string, string>): Promise<void> {
  await cluster.retry(`setting the session timeout of group ${group}`, async () => {
    const [described] = await cluster.admin.describeConfigs({
      resources: [{ resourceType: GROUP_RESOURCE, resourceName: group }],
    });
    const present = new Map(described?.configs.map(({ name, value }) => [name, value]));
    const wrong = Object.entries(settings).filter(([name, value]) => present.get(name) !== value);
    if (wrong.length === 0) return;
    const configs = wrong.map(([name, value]) => ({ name, value, configOperation: SET }) as const);
    await cluster.admin.incrementalAlterConfigs({
      resources: [{ resourceType: GROUP_RESOURCE, resourceName: group, configs }],
    });
  });
}

async function brokerLimits(cluster: KafkaCluster, protocol: 'consumer' | 'classic'): Promise<Limits> {
  const prefix = protocol === 'consumer' ? 'group.consumer' : 'group';
  const settings = await cluster.retry('reading the limits of the brokers', async () => {
    const { brokers } = await cluster.admin.metadata({ topics: [] });
    const [node] = brokers.keys();
    const [described] = await cluster.admin.describeConfigs({
      resources: [{ resourceType: BROKER_RESOURCE, resourceName: String(node ?? '') }],
    });
    return new Map(described?.configs.map(({ name, value }) => [name, value]));
  });
  const limit = (name: string, otherwise: number): number =>
    Number(settings.get(`${prefix}.${name}`) ?? otherwise);
  return {
    session: [limit('min.session.timeout.ms', 45_000), limit('max.session.timeout.ms', 60_000)],
    heartbeat: [limit('min.heartbeat.interval.ms', 5000), limit('max.heartbeat.interval.ms', 15_000)],
  };
}

function within(value: number, [least, most]: readonly [number, number]): number {
  return Math.round(Math.min(most, Math.max(least, value)));
}
