/** The configuration for people: the log line at start, which values are secret, and the table of the variables. */
import type { Config } from './load.ts';
import { ENV_FILE, VARIABLE_KEYS, VARIABLES } from './variables.ts';
import { createRedactor, urlSecrets } from './redact.ts';

/** Secrets that must never be logged: passwords in connection URLs and tokens. For createRedactor. */
export function configSecrets(config: Config): string[] {
  const urls = [
    config.database?.kind === 'server' ? config.database.url : '',
    config.readDatabaseUrl ?? '',
    config.redisUri ?? '',
  ];
  const tokens = config.apiToken?.split(',') ?? [];
  return [...urls.flatMap(urlSecrets), ...tokens, ...(config.webhookHmacKeys?.values() ?? [])];
}

/** Every setting in effect, fit for a log line: no passwords, no BigInt; unset ones are left out. */
export function describeConfig(config: Config): Record<string, unknown> {
  const redact = createRedactor(configSecrets(config));
  const { warnings: _warnings, notify, database, apiToken, webhookHmacKeys, ...settings } = config;
  const described: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(settings)) {
    if (value === null) continue;
    if (typeof value === 'bigint') described[key] = value.toString();
    else described[key] = typeof value === 'string' ? redact(value) : value;
  }
  if (database !== null) {
    described['database'] =
      database.kind === 'server' ? redact(database.url) : `embedded:${database.dataDir}`;
  }
  if (apiToken !== null) described['apiToken'] = '***';
  if (webhookHmacKeys !== null) described['webhookHmacKeys'] = [...webhookHmacKeys.keys()];
  described['watchdogMs'] = notify.watchdogMs;
  return described;
}

/** The table of docs/configuration.md, a row per variable. */
export function configMarkdown(): string {
  const rows = VARIABLE_KEYS.map((key) => VARIABLES[key]).map(
    ({ name, initial, doc, parser }) =>
      `| \`${name}\` | ${initial === null ? '–' : `\`${initial}\``} | ${doc} Allowed: ${cell(parser.allowed)}. |`,
  );
  const fileRow = `| \`${ENV_FILE}\` | \`.env.ingester\` | The file with these variables; read from the environment alone. |`;
  return ['| Variable | Default | Meaning |', '|---|---|---|', ...rows, fileRow, ''].join('\n');
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|');
}
