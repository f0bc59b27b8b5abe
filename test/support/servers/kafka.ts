import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, openSync, closeSync, rmSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort } from './free-port.ts';
import { until } from '../until.ts';

const folder = fileURLToPath(new URL('../../kafka/', import.meta.url));
const jars = join(folder, 'jars');
const OLDEST_JAVA = 17;
const START_DEADLINE_MS = 90_000;

export interface TestKafkaOptions {
  /** kept when it ends; default: a temporary folder of its own, removed by stop() */
  dataDir?: string;
  /** of the listener for clients; default: a free one */
  port?: number;
  /** what clients are told to connect to, when a proxy stands before the port */
  advertisedPort?: number;
  /** as one of several nodes; default: a cluster of its own */
  cluster?: { id: string; nodeId: number; controllerPort: number };
  /** further lines of server.properties */
  settings?: Record<string, string>;
  /** further arguments of kafka-storage.sh format */
  formatWith?: readonly string[];
}

export interface TestKafka {
  readonly port: number;
  readonly pid: number;
  readonly dataDir: string;
  /** SIGKILL; start() brings it back on the same data and port. */
  kill(): Promise<void>;
  start(): Promise<void>;
  /** kill() and start() */
  crash(): Promise<void>;
  /** SIGTERM, and waits until it has ended; the data stay. */
  halt(): Promise<void>;
  freeze(): void;
  thaw(): void;
  /** The end of what the node logged, for a message of failure. */
  log(): Promise<string>;
  /** Idempotent: ends the node and removes its temporary folder. */
  stop(): Promise<void>;
}

/** Why no Kafka can be started here, as tap's skip wants it; false when one can. */
export function noKafka(): false | string {
  const { error, stderr } = spawnSync('java', ['-version'], { encoding: 'utf8' });
  const major = Number(/version "(\d+)/.exec(stderr ?? '')?.[1] ?? 0);
  if (error !== undefined || major < OLDEST_JAVA) return `no Java ${OLDEST_JAVA} or later on this machine`;
  if (existsSync(join(jars, '.fetched'))) return false;
  return 'the jars of Kafka are not in test/kafka/jars (make kafka-jars fetches them)';
}

/** One KRaft node, broker and controller in one, on loopback. */
export async function startKafka(options: TestKafkaOptions = {}): Promise<TestKafka> {
  const dataDir = options.dataDir ?? (await mkdtemp(join(tmpdir(), 'tick-kafka-')));
  await mkdir(dataDir, { recursive: true });
  const port = options.port ?? (await freePort());
  const config = join(dataDir, 'server.properties');
  const ports = {
    clients: port,
    advertised: options.advertisedPort ?? port,
    internal: await freePort(),
    controller: options.cluster?.controllerPort ?? (await freePort()),
  };
  await writeFile(config, properties(dataDir, ports, options.cluster?.nodeId ?? 1, options.settings ?? {}));
  if (!existsSync(join(dataDir, 'log', 'meta.properties'))) {
    const formatted = process.env['TEST_KAFKA_DATA'] ?? '';
    if (formatted !== '' && options.cluster === undefined && options.formatWith === undefined) {
      await cp(formatted, join(dataDir, 'log'), { recursive: true });
    } else {
      format(config, options.cluster?.id ?? freshClusterId(), options.formatWith ?? []);
    }
  }

  let child: ChildProcess | null = null;
  const removed = options.dataDir === undefined;
  const abandon = (): void => {
    if (child?.pid !== undefined && child.exitCode === null) child.kill('SIGKILL');
    if (removed) rmSync(dataDir, { recursive: true, force: true, maxRetries: 5 });
  };
  process.once('exit', abandon);
  // a test that tap ends for its time must not leave a node behind
  const signals = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;
  const ended = (signal: NodeJS.Signals): void => {
    abandon();
    for (const name of signals) process.off(name, ended);
    process.kill(process.pid, signal);
  };
  if (removed) for (const name of signals) process.once(name, ended);

  const start = async (): Promise<void> => {
    child = launch(dataDir, config);
    await listening(child, port, dataDir);
  };
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    const ending = child;
    if (ending === null || ending.exitCode !== null || ending.signalCode !== null) return;
    const over = new Promise((resolve) => ending.once('exit', resolve));
    ending.kill(signal);
    if (signal === 'SIGTERM') ending.kill('SIGCONT');
    await over;
  };
  await start();
  return {
    port,
    get pid() {
      return child?.pid ?? -1;
    },
    dataDir,
    start,
    kill: () => end('SIGKILL'),
    async crash() {
      await end('SIGKILL');
      await start();
    },
    halt: () => end('SIGTERM'),
    freeze: () => void child?.kill('SIGSTOP'),
    thaw: () => void child?.kill('SIGCONT'),
    log: () => logTail(dataDir),
    async stop() {
      await end(removed ? 'SIGKILL' : 'SIGTERM');
      process.off('exit', abandon);
      for (const name of signals) process.off(name, ended);
      if (removed) await rm(dataDir, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

/**
 * A formatted folder for nodes that are a cluster of their own: a copy saves each of them a Java of 1.6 s of CPU.
 * TEST_KAFKA_DATA names it.
 */
export async function makeKafkaData(): Promise<{ folder: string; remove(): Promise<void> }> {
  const dataDir = await mkdtemp(join(tmpdir(), 'tick-kafka-data-'));
  const config = join(dataDir, 'server.properties');
  await writeFile(
    config,
    properties(dataDir, { clients: 1, advertised: 1, internal: 2, controller: 3 }, 1, {}),
  );
  format(config, freshClusterId(), []);
  return { folder: join(dataDir, 'log'), remove: () => rm(dataDir, { recursive: true, force: true }) };
}

/** Node 1 is the controller as well. */
function properties(
  dataDir: string,
  ports: { clients: number; advertised: number; internal: number; controller: number },
  nodeId: number,
  settings: Record<string, string>,
): string {
  const { clients, advertised, internal, controller } = ports;
  const controls = nodeId === 1 ? `,CONTROLLER://127.0.0.1:${controller}` : '';
  const lines = {
    'process.roles': nodeId === 1 ? 'broker,controller' : 'broker',
    'node.id': String(nodeId),
    'controller.quorum.voters': `1@127.0.0.1:${controller}`,
    listeners: `CLIENTS://127.0.0.1:${clients},INTERNAL://127.0.0.1:${internal}${controls}`,
    'advertised.listeners': `CLIENTS://127.0.0.1:${advertised},INTERNAL://127.0.0.1:${internal}`,
    'listener.security.protocol.map': 'CLIENTS:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT',
    'inter.broker.listener.name': 'INTERNAL',
    'controller.listener.names': 'CONTROLLER',
    'log.dirs': join(dataDir, 'log'),
    'auto.create.topics.enable': 'false',
    'offsets.topic.replication.factor': '1',
    'offsets.topic.num.partitions': '4',
    'transaction.state.log.replication.factor': '1',
    'transaction.state.log.min.isr': '1',
    'transaction.state.log.num.partitions': '2',
    'group.initial.rebalance.delay.ms': '0',
    // so that a test need not wait 45 s for a dead member
    'group.min.session.timeout.ms': '500',
    'group.consumer.min.session.timeout.ms': '500',
    'group.consumer.min.heartbeat.interval.ms': '100',
    // how long a killed node must wait before the controller takes it back
    'broker.session.timeout.ms': '2000',
    'broker.heartbeat.interval.ms': '300',
    'num.network.threads': '2',
    'num.io.threads': '4',
    'log.cleaner.dedupe.buffer.size': '8388608',
    'log.retention.check.interval.ms': '2000',
    ...settings,
  };
  return Object.entries(lines)
    .map(([name, value]) => `${name}=${value}\n`)
    .join('');
}

/** Small and quick to start rather than fast; @see the shell scripts of Kafka for what a real node is given. */
function javaArguments(mainClass: string, ...rest: string[]): string[] {
  return [
    '-Xms96m',
    '-Xmx448m',
    '-XX:+UseSerialGC',
    '-XX:TieredStopAtLevel=1',
    '-Xshare:auto',
    '-Djava.awt.headless=true',
    `-Dlog4j2.configurationFile=${join(folder, 'log4j2.properties')}`,
    '-cp',
    join(jars, '*'),
    mainClass,
    ...rest,
  ];
}

/** 16 bytes in base64, which must not begin with a dash: the tool would take it for an option. */
function freshClusterId(): string {
  const bytes = randomBytes(16);
  bytes[0] &= 0x7f;
  return bytes.toString('base64url');
}

function format(config: string, id: string, more: readonly string[]): void {
  const result = spawnSync(
    'java',
    javaArguments('kafka.tools.StorageTool', 'format', '-t', id, '-c', config, ...more),
    {
      encoding: 'utf8',
    },
  );
  if (result.status !== 0)
    throw new Error(`Kafka's storage was not formatted: ${result.stderr}${result.stdout}`);
}

function launch(dataDir: string, config: string): ChildProcess {
  const log = openSync(join(dataDir, 'node.log'), 'a');
  try {
    return spawn('java', javaArguments('kafka.Kafka', config), { stdio: ['ignore', log, log] });
  } finally {
    closeSync(log);
  }
}

async function listening(child: ChildProcess, port: number, dataDir: string): Promise<void> {
  await until(
    `Kafka listens on port ${port}`,
    async () => {
      if (child.exitCode !== null || child.signalCode !== null) {
        throw new Error(`Kafka ended with ${child.exitCode ?? child.signalCode}:\n${await logTail(dataDir)}`);
      }
      return accepts(port);
    },
    { deadlineMs: START_DEADLINE_MS, context: () => logTail(dataDir) },
  );
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

async function logTail(dataDir: string): Promise<string> {
  const text = await readFile(join(dataDir, 'node.log'), 'utf8').catch(() => '');
  return text.split('\n').slice(-30).join('\n');
}
