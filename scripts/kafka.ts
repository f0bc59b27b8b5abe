/** `make kafka`: one Kafka node on loopback for a person to use, with its data in .kafka/ until somebody removes it. */
import { join } from 'node:path';
import { noKafka, startKafka } from '../test/support/servers/kafka.ts';

const missing = noKafka();
if (missing !== false) {
  console.error(missing);
  process.exit(1);
}
const port = Number(process.env['KAFKA_PORT'] ?? 9092);
const node = await startKafka({ dataDir: join(process.cwd(), '.kafka'), port });
console.log(`Kafka listens on 127.0.0.1:${port}; Ctrl-C ends it. Its data stay in .kafka/.`);
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    void node.stop().then(() => process.exit(0));
  });
}
