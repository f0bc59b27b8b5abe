import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, globSync, readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { test } from 'tap';
import { parse } from 'yaml';
import { loadConfig } from '../../src/run/config/load.ts';
import { loadStreamingConfig } from '../../src/run/config/streaming/load.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const read = (name: string) => readFileSync(root + name, 'utf8');

interface Instruction {
  name: string;
  text: string;
  stage: number;
}

const KNOWN =
  'FROM RUN CMD LABEL EXPOSE ENV ADD COPY ENTRYPOINT VOLUME USER WORKDIR ARG ONBUILD STOPSIGNAL HEALTHCHECK SHELL'.split(
    ' ',
  );

/** The instructions of a Dockerfile: continued lines joined, comments and blank lines left out. */
function instructions(text: string): Instruction[] {
  const joined = text.replaceAll(/^\s*#.*\n/gm, '').replaceAll(/\\\n/g, ' ');
  let stage = 0;
  return joined
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const [, name = line, rest = ''] = /^([A-Za-z]+)\s+(.*)$/.exec(line) ?? [];
      if (name === 'FROM') stage++;
      return { name, text: rest.trim(), stage };
    });
}

const dockerfile = instructions(read('Dockerfile'));
const inStage = (stage: number, name: string) =>
  dockerfile.filter((line) => line.stage === stage && line.name === name);

void test('the Dockerfile has two stages of known instructions', async (t) => {
  for (const { name, text } of dockerfile) t.ok(KNOWN.includes(name) && text !== '', `${name} ${text}`);
  t.strictSame(
    dockerfile.filter(({ name }) => name === 'FROM').map(({ text }) => text),
    ['node:24-bookworm AS builder', 'debian:12-slim'],
  );
  t.equal(
    inStage(1, 'WORKDIR')[0].text,
    inStage(2, 'WORKDIR')[0].text,
    'paths stay what they were when they were built',
  );
});

void test('the image runs the daemon as an ordinary user, with certificates and a check of health', async (t) => {
  const [packages, links] = inStage(2, 'RUN');
  t.match(packages.text, /install .*\bca-certificates\b/);
  t.match(packages.text, /useradd .* fermi\b/);
  for (const program of ['tick-ingester', 'mdp', 'sequencer-sim'])
    t.ok(links.text.includes(`/opt/fermi/bin/${program} `), program);
  t.match(links.text, /\/usr\/local\/bin\/$/);
  t.strictSame(
    inStage(2, 'USER').map(({ text }) => text),
    ['fermi'],
  );
  t.ok(
    dockerfile.findIndex(({ name }) => name === 'USER') >
      dockerfile.findLastIndex(({ name }) => name === 'RUN'),
  );
  t.strictSame(JSON.parse(inStage(2, 'CMD')[0].text), ['tick-ingester']);
  t.strictSame(healthCheck().slice(0, 2), ['/opt/fermi/node_modules/.bin/node', '-e']);
  t.match(inStage(1, 'RUN').at(-1)?.text, /npm prune --omit=dev$/, 'production dependencies alone');
});

function healthCheck(): string[] {
  const [, command = '[]'] = /^(?:--\S+ +)+CMD +(\[.*\])$/.exec(inStage(2, 'HEALTHCHECK')[0].text) ?? [];
  return JSON.parse(command) as string[];
}

void test("the image's check of health follows /health", async (t) => {
  let status = 200;
  const asked: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url);
    response.writeHead(status).end('{}');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const check = async (written = String(port)) => {
    const child = spawn(process.execPath, healthCheck().slice(1), {
      env: { HEALTH_CHECK_PORT: written },
      stdio: 'ignore',
    });
    const [code] = (await once(child, 'exit')) as [number];
    return code;
  };
  t.equal(await check(), 0);
  status = 503;
  t.equal(await check(), 1);
  t.strictSame(asked, ['/health', '/health']);
  status = 200;
  t.equal(await check(`"${port}"`), 0, 'as docker --env-file leaves it');
  server.close();
  server.closeAllConnections();
  await once(server, 'close');
  t.equal(await check(), 1, 'nobody answers');
});

void test('what is copied exists, reaches the build, and nothing secret does', async (t) => {
  const ignore = read('.dockerignore')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'));
  t.equal(ignore[0], '*', 'all is left out but what is named');
  const allowed = ignore.slice(1).map((line) => line.replace(/^!/, ''));
  const copied = dockerfile
    .filter(({ name, text }) => name === 'COPY' && !text.startsWith('--from'))
    .flatMap(({ text }) => text.split(/\s+/).slice(0, -1));
  t.strictSame(allowed.toSorted(), [...new Set(copied)].sort());
  for (const path of allowed) t.ok(existsSync(root + path), path);
  for (const path of ['.env.ingester', '.git', 'node_modules']) t.notOk(allowed.includes(path), path);
});

interface Service {
  image?: string;
  build?: string;
  command?: string[];
  stop_grace_period: string;
  environment?: Record<string, string>;
  volumes?: string[];
  ports?: string[];
  healthcheck?: { test: string[] };
  depends_on?: Record<string, { condition: string }>;
  networks: string[] | Record<string, { aliases: string[] }>;
}

const compose = parse(read('docker-compose.yml')) as {
  services: Record<'mdp-api' | 'md_postgres' | 'redis', Service>;
  networks: Record<string, unknown>;
  volumes: Record<string, unknown>;
};
const { 'mdp-api': daemon, md_postgres: postgres, redis } = compose.services;

/** The value of ${NAME:-default} when NAME is unset; what is required is set. */
const unset = (text: string) =>
  text.replaceAll(/\$\{[A-Z_]+:-([^}]*)\}/g, '$1').replaceAll(/\$\{[A-Z_]+:\?[^}]+\}/g, 'f'.repeat(64));

void test('the services have the names of the seeds and share one network', async (t) => {
  t.strictSame(Object.keys(compose.services).sort(), ['md_postgres', 'mdp-api', 'redis']);
  t.strictSame(Object.keys(compose.networks), ['market_data_net']);
  t.strictSame(daemon.networks, { market_data_net: { aliases: ['pipeline-api'] } });
  t.strictSame(postgres.networks, ['market_data_net']);
  t.strictSame(redis.networks, ['market_data_net']);
  t.equal(postgres.image, 'timescale/timescaledb:2.20.3-pg15-oss');
  t.equal(postgres.environment?.['POSTGRES_DB'], 'market_data');
});

void test('each file of schema/ is mounted by name, and no other', async (t) => {
  const files = readdirSync(`${root}schema`).filter((name) => name.endsWith('.sql'));
  t.ok(files.length > 0);
  const mounts = (postgres.volumes ?? []).filter((volume) => volume.includes('initdb.d'));
  t.strictSame(
    mounts.toSorted(),
    files.map((name) => `./schema/${name}:/docker-entrypoint-initdb.d/${name}:ro`).sort(),
    'add new files to docker-compose.yml',
  );
});

void test('nothing is published beyond loopback, and volumes are declared', async (t) => {
  for (const [name, { ports = [], volumes = [] }] of Object.entries(compose.services)) {
    for (const port of ports) t.match(port, /^127\.0\.0\.1:\d+:\d+$/, `${name} ${port}`);
    for (const volume of volumes.filter((entry) => !entry.startsWith('./'))) {
      t.ok(Object.hasOwn(compose.volumes, volume.split(':')[0]), volume);
    }
  }
});

void test('the daemon is configured by variables that it knows, and has time to drain', async (t) => {
  const env = Object.fromEntries(
    Object.entries(daemon.environment ?? {}).map(([name, value]) => [name, unset(value)]),
  );
  const config = loadConfig({ env, cwd: '/opt/fermi', readFile: () => '' });
  t.strictSame(config.database, {
    kind: 'server',
    url: 'postgres://postgres:postgres@md_postgres:5432/market_data',
  });
  t.match(config.warnings, [/plaintext/], 'the sequencer of the machine itself, and nothing unknown');
  t.strictSame(daemon.command, ['tick-ingester']);
  t.equal(daemon.build, '.');
  t.ok(Number.parseInt(daemon.stop_grace_period, 10) > 35, 'above drain and close');
  t.strictSame(
    config.stages,
    ['ingest', 'orders', 'ticks', 'bars', 'signals', 'api'],
    'every stage of this version',
  );
  t.equal(config.redisUri, 'redis://redis:6379/0', 'the service redis');
  t.strictSame(daemon.depends_on, {
    md_postgres: { condition: 'service_healthy' },
    redis: { condition: 'service_healthy' },
  });
  t.ok(postgres.healthcheck && redis.healthcheck);
});

void test('redis keeps what it holds', async (t) => {
  const command = redis.command?.join(' ') ?? '';
  for (const option of [
    '--appendonly yes',
    '--appendfsync always',
    '--save 900 1',
    '--maxmemory-policy noeviction',
  ])
    t.ok(command.includes(option), option);
});

void test('the image holds the configuration of the bus, which names the redis of the compose file', async (t) => {
  const copied = inStage(2, 'COPY').map(({ text }) => text);
  t.ok(copied.includes('configs configs') && copied.includes('examples examples'));
  const variables = new Map(Object.entries(daemon.environment ?? {}));
  const file = `${root}configs/streaming.yaml`;
  const { bus, telemetry } = loadStreamingConfig(file, (name) => variables.get(name) ?? null);
  t.equal(bus.type, 'redis');
  t.equal(bus.redis.uri, 'redis://redis:6379/0');
  t.ok(daemon.ports?.includes(`127.0.0.1:${telemetry.metrics_port}:${telemetry.metrics_port}`));
});

void test('no file for deployment holds a path of a developer or a private host', async (t) => {
  const files = [
    'Dockerfile',
    'docker-compose.yml',
    '.env.ingester.example',
    ...globSync('systemd/*', { cwd: root }),
  ];
  for (const file of files) t.notMatch(read(file), /\/(home|root|work|Users)\//, file);
});
