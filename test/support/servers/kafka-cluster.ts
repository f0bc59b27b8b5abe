import { freePort } from './free-port.ts';
import { startKafka, type TestKafka } from './kafka.ts';

const CLUSTER_ID = 'dGljay1pbmdlc3Rlci10ZQ';

/** Three brokers with three replicas of everything, of which two must have a record. The first must live: it controls. */
export async function startKafkaCluster(): Promise<TestKafka[]> {
  const controllerPort = await freePort();
  const start = (nodeId: number): Promise<TestKafka> =>
    startKafka({
      cluster: { id: CLUSTER_ID, nodeId, controllerPort },
      settings: {
        'default.replication.factor': '3',
        'min.insync.replicas': '2',
        'offsets.topic.replication.factor': '3',
        'replica.lag.time.max.ms': '3000',
      },
    });
  const first = await start(1);
  return [first, ...(await Promise.all([start(2), start(3)]))];
}
