import { testEnv } from '../../../support/bus/env.ts';
/** A member that takes ten records, says so, and acknowledges them when it is told to (SIGUSR2). */
import { KafkaBus } from '../../../../src/bus/kafka/bus.ts';
import type { Delivery } from '../../../../src/bus/bus.ts';
import { FileCheckpoints } from '../../../support/bus/file-checkpoints.ts';

const [address, topic, checkpoints, protocol] = process.argv.slice(2);
const bus = await KafkaBus.open({
  brokers: [address],
  partitions: {},
  maxBytes: 2 ** 31,
  clientName: 'late',
  checkpoints: new FileCheckpoints(checkpoints),
  env: testEnv({ log: (_level, message, fields) => console.log(JSON.stringify({ message, ...fields })) }),
  requestTimeoutMs: 2000,
  ...(protocol === 'classic' ? { groupProtocol: 'classic' as const } : {}),
});
const member = await bus.join({ topic, group: topic, member: 'late', takeoverMs: 800 });
const taken: Delivery[] = [];
while (taken.length < 10) taken.push(...(await member.next(10 - taken.length, 500)));
process.on('SIGUSR2', () => {
  void member.acknowledge(taken).then(
    () => console.log('acknowledged'),
    (error: unknown) => console.log(`failed ${String(error)}`),
  );
});
setInterval(() => {}, 60_000);
console.log('taken');
