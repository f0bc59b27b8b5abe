import { testEnv } from '../../../support/bus/env.ts';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'tap';
import type { BusError } from '../../../../src/bus/bus.ts';
import { KafkaBus, type KafkaBusOptions } from '../../../../src/bus/kafka/bus.ts';
import { idsOf, recordsOf } from '../../../conformance/harness.ts';
import { FileCheckpoints } from '../../../support/bus/file-checkpoints.ts';
import { freePort } from '../../../support/servers/free-port.ts';
import { noKafka, startKafka } from '../../../support/servers/kafka.ts';

const hasOpenssl = spawnSync('openssl', ['version'], { stdio: 'ignore' }).status === 0;
const skip = noKafka() || (hasOpenssl ? false : 'no openssl on this machine');
const folder = mkdtempSync(join(tmpdir(), 'kafka-access-'));
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));

/** A certificate for 127.0.0.1 that vouches for itself. */
function certificate(name: string): { cert: string; key: string } {
  const [cert, key] = [join(folder, `${name}.crt`), join(folder, `${name}.key`)];
  const subject = ['-subj', `/CN=${name}`, '-addext', 'subjectAltName=IP:127.0.0.1'];
  const made = spawnSync(
    'openssl',
    ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-keyout', key, '-out', cert, ...subject],
    { encoding: 'utf8' },
  );
  if (made.status !== 0) throw new Error(made.stderr);
  return { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') };
}

async function open(port: number, access: Partial<KafkaBusOptions>): Promise<KafkaBus> {
  return KafkaBus.open({
    brokers: [`127.0.0.1:${port}`],
    partitions: {},
    maxBytes: 2 ** 31,
    clientName: 'access',
    checkpoints: new FileCheckpoints(join(folder, 'marks')),
    env: testEnv(),
    requestTimeoutMs: 2000,
    retryMs: 3000,
    ...access,
  });
}

function sasl(mechanism: 'PLAIN' | 'SCRAM-SHA-512', password: string) {
  return { mechanism, username: 'bus', password };
}

async function refusal(opening: Promise<KafkaBus>): Promise<string> {
  try {
    const bus = await opening;
    await bus.close();
    return 'opened';
  } catch (error) {
    return (error as BusError).kind;
  }
}

await test(
  'TLS and SASL: who has the password gets in, for others waiting mends nothing',
  { skip },
  async (t) => {
    const server = certificate('broker');
    const stranger = certificate('stranger');
    const store = join(folder, 'broker.pem');
    writeFileSync(store, `${server.key}${server.cert}`);
    const login = 'org.apache.kafka.common.security';
    const kafka = await startKafka({
      settings: {
        'listener.security.protocol.map': 'CLIENTS:SASL_SSL,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT',
        'sasl.enabled.mechanisms': 'PLAIN,SCRAM-SHA-512',
        'listener.name.clients.plain.sasl.jaas.config': `${login}.plain.PlainLoginModule required user_bus="secret";`,
        'listener.name.clients.scram-sha-512.sasl.jaas.config': `${login}.scram.ScramLoginModule required;`,
        'listener.name.clients.ssl.keystore.type': 'PEM',
        'listener.name.clients.ssl.keystore.location': store,
      },
      formatWith: ['--add-scram', 'SCRAM-SHA-512=[name=bus,password=secret]'],
    });
    t.teardown(() => kafka.stop());
    const tls = { ca: server.cert };
    for (const mechanism of ['PLAIN', 'SCRAM-SHA-512'] as const) {
      const bus = await open(kafka.port, { tls, sasl: sasl(mechanism, 'secret') });
      const topic = `t.${mechanism}`;
      await bus.publish(topic, recordsOf('A', 5));
      t.same(idsOf(await bus.read(topic, 0, null, 10)), idsOf(recordsOf('A', 5)), mechanism);
      await bus.close();
      t.equal(
        await refusal(open(kafka.port, { tls, sasl: sasl(mechanism, 'wrong') })),
        'setup',
        'wrong password',
      );
    }
    t.equal(
      await refusal(open(kafka.port, { tls })),
      'unreachable',
      'no password: the broker hangs up without a word',
    );
    t.equal(await refusal(open(kafka.port, {})), 'setup', 'no TLS');
    const strange = { ca: stranger.cert };
    t.equal(
      await refusal(open(kafka.port, { tls: strange, sasl: sasl('PLAIN', 'secret') })),
      'setup',
      'wrong CA',
    );
  },
);

await test('nobody listens: an error that passes, after a bounded time', { skip }, async (t) => {
  t.equal(await refusal(open(await freePort(), { retryMs: 500 })), 'unreachable');
});
