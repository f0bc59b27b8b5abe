/** The variables of the bus, the API and what reads: their names, forms, defaults and meanings. */
import { host, hostPorts, hosts, redisUri, serverUrl } from './addresses.ts';
import { hmacKeys, path, port, tokens } from './parsers.ts';
import { optional, required } from './variable.ts';

export const PLATFORM_VARIABLES = {
  streamingConfigFile: required(
    'STREAMING_CONFIG',
    'configs/streaming.yaml',
    path,
    'Configuration of everything on the bus. Where the default is absent, the file of the package is read.',
  ),
  readDatabaseUrl: optional(
    'READ_DATABASE_URL',
    serverUrl,
    'A replica for verify, mdp quality, replay, export and queries. The variables of libpq count for it too.',
    { secret: true },
  ),
  apiPort: required('API_PORT', '8083', port, 'Port of the API (stage api, mdp serve).'),
  apiHost: required(
    'API_HOST',
    '127.0.0.1',
    host,
    'Address that the API listens on. Beyond this machine API_TOKEN is required.',
  ),
  apiToken: optional(
    'API_TOKEN',
    tokens,
    'Bearer token of the API, with every scope; beyond this machine of 32 characters at least. Unset, and on loopback: no token is asked for. `mdp tokens` makes further ones.',
    { secret: true },
  ),
  allowedHosts: optional(
    'ALLOWED_HOSTS',
    hosts,
    'Host headers that the API answers to; one without a port stands for all ports. Default: API_HOST, localhost and loopback addresses. The address that a connection came to is always answered.',
  ),
  webhookHmacKeys: optional(
    'WEBHOOK_HMAC_KEYS',
    hmacKeys,
    'Who may sign the ticks of POST /ingest/tick in place of sending a token.',
    { secret: true },
  ),
  webhookHmacKeysFile: optional(
    'WEBHOOK_HMAC_KEYS_FILE',
    path,
    'A file with further such keys, an id:secret a line.',
  ),
  metricsPort: optional(
    'METRICS_PORT',
    port,
    'Port of the metrics of the stages on the bus. Default: telemetry.metrics_port of STREAMING_CONFIG, which is 9101.',
  ),
  redisUri: optional(
    'REDIS_URI',
    redisUri,
    'The Redis of the bus, where STREAMING_CONFIG says ${REDIS_URI}.',
    {
      secret: true,
    },
  ),
  kafkaBrokers: optional(
    'KAFKA_BROKERS',
    hostPorts,
    'The Kafka brokers of the bus, where STREAMING_CONFIG says ${KAFKA_BROKERS}.',
  ),
  exportDir: optional(
    'EXPORT_DIR',
    path,
    'The folder that exports of the API stay below; without it the API exports nothing.',
  ),
};
