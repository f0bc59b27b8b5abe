import { readFileSync } from 'node:fs';
import { isLoopback } from '../config/addresses.ts';
import { ConfigError, readSetting } from '../config/load.ts';
import { hmacKeys } from '../config/parsers.ts';

/** What the API is configured with by variables: plain values, sent to its thread. */
export interface ApiSettings {
  host: string;
  port: number;
  /** API_TOKEN, two while it is rotated; none: on loopback alone, and open */
  tokens: readonly string[];
  /** null: those of the address */
  allowedHosts: readonly string[] | null;
  /** secrets of senders that sign, by id */
  hmacKeys: ReadonlyMap<string, string>;
  /** where queries read; null: DATABASE_URL */
  readDatabaseUrl: string | null;
  /** EXPORT_DIR; null: the API exports nothing */
  exportDir: string | null;
}

/** Below this a token could be guessed. */
export const TOKEN_CHARS_MIN = 32;

/** From the environment. @throws ConfigError, also when it would be open to other machines */
export function readApiSettings(): ApiSettings {
  const token = readSetting('apiToken');
  const settings = {
    host: readSetting('apiHost'),
    port: readSetting('apiPort'),
    tokens: token === null ? [] : token.split(','),
    allowedHosts: readSetting('allowedHosts'),
    hmacKeys: readHmacKeys(),
    readDatabaseUrl: readSetting('readDatabaseUrl'),
    exportDir: readSetting('exportDir'),
  };
  const problem = openness(settings);
  if (problem !== null)
    throw new ConfigError([
      {
        variable: 'API_TOKEN',
        problem,
        allowed: `a token of ${TOKEN_CHARS_MIN} characters at least, such as "openssl rand -hex 32" prints`,
      },
    ]);
  return settings;
}

/** What is wrong with an API that others can reach; null: nothing. */
export function openness({ host, tokens }: Pick<ApiSettings, 'host' | 'tokens'>): string | null {
  if (isLoopback(host)) return null;
  if (tokens.length === 0) return `is missing; API_HOST ${host} can be reached from other machines`;
  if (tokens.some((token) => token.length < TOKEN_CHARS_MIN))
    return `(value not shown) is too short; API_HOST ${host} can be reached from other machines`;
  return null;
}

/** What no log line may hold. */
export function apiSecrets({ tokens, hmacKeys }: ApiSettings): string[] {
  return [...tokens, ...hmacKeys.values()];
}

function readHmacKeys(): ReadonlyMap<string, string> {
  const file = readSetting('webhookHmacKeysFile');
  const given = readSetting('webhookHmacKeys') ?? new Map<string, string>();
  if (file === null) return given;
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw fileMistake(`names ${file}, which cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
  const lines = text.split(/\r?\n/).map((line) => line.trim());
  const entries = lines.filter((line) => line !== '' && !line.startsWith('#'));
  if (entries.length === 0) return given;
  try {
    return new Map([...given, ...hmacKeys.parse(entries.join(','), '')]);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw fileMistake(`names ${file}, which ${error.message}`);
  }
}

function fileMistake(problem: string): ConfigError {
  const allowed = `a file with a key a line: ${hmacKeys.allowed}`;
  return new ConfigError([{ variable: 'WEBHOOK_HMAC_KEYS_FILE', problem, allowed }]);
}
