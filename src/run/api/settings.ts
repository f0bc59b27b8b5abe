import { isLoopback } from '../config/addresses.ts';
import { ConfigError, readSetting } from '../config/load.ts';

/** What the API is configured with by variables: plain values, sent to its thread. */
export interface ApiSettings {
  host: string;
  port: number;
  /** null: on loopback alone, and open */
  token: string | null;
  /** null: those of the address */
  allowedHosts: readonly string[] | null;
  /** where queries read; null: DATABASE_URL */
  readDatabaseUrl: string | null;
}

/** From the environment. @throws ConfigError, also when it would be open to other machines */
export function readApiSettings(): ApiSettings {
  const settings = {
    host: readSetting('apiHost'),
    port: readSetting('apiPort'),
    token: readSetting('apiToken'),
    allowedHosts: readSetting('allowedHosts'),
    readDatabaseUrl: readSetting('readDatabaseUrl'),
  };
  const problem = openness(settings);
  if (problem !== null)
    throw new ConfigError([{ variable: 'API_TOKEN', problem, allowed: 'a token of 32 characters at least' }]);
  return settings;
}

/** What is wrong with an API that others can reach; null: nothing. */
export function openness({ host, token }: Pick<ApiSettings, 'host' | 'token'>): string | null {
  if (isLoopback(host) || token !== null) return null;
  return `is missing; API_HOST ${host} can be reached from other machines`;
}
