import { parseDatabaseUrl } from '../database-url.ts';
import { DatabaseUrlError, readKeywords, withKeywords, type Keywords } from './keywords.ts';

/**
 * libpq's variables and the keywords that they stand for. Not here: those without a meaning for this program
 * (PGSSLCOMPRESSION, PGSSLSNI, PGKRBSRVNAME, PGGSS…), and those that set what every session of ours sets itself
 * (PGCLIENTENCODING, PGTZ, PGDATESTYLE, PGGEQO).
 */
const KEYWORD_OF = {
  PGHOST: 'host',
  PGHOSTADDR: 'hostaddr',
  PGPORT: 'port',
  PGDATABASE: 'dbname',
  PGUSER: 'user',
  PGPASSWORD: 'password',
  PGPASSFILE: 'passfile',
  PGCHANNELBINDING: 'channel_binding',
  PGREQUIREAUTH: 'require_auth',
  PGREQUIREPEER: 'requirepeer',
  PGSERVICE: 'service',
  PGOPTIONS: 'options',
  PGAPPNAME: 'application_name',
  PGCONNECT_TIMEOUT: 'connect_timeout',
  PGTARGETSESSIONATTRS: 'target_session_attrs',
  PGLOADBALANCEHOSTS: 'load_balance_hosts',
  PGSSLMODE: 'sslmode',
  PGREQUIRESSL: 'requiressl',
  PGSSLNEGOTIATION: 'sslnegotiation',
  PGSSLROOTCERT: 'sslrootcert',
  PGSSLCERT: 'sslcert',
  PGSSLKEY: 'sslkey',
  PGSSLCERTMODE: 'sslcertmode',
  PGSSLCRL: 'sslcrl',
  PGSSLCRLDIR: 'sslcrldir',
  PGSSLMINPROTOCOLVERSION: 'ssl_min_protocol_version',
  PGSSLMAXPROTOCOLVERSION: 'ssl_max_protocol_version',
  PGMINPROTOCOLVERSION: 'min_protocol_version',
  PGMAXPROTOCOLVERSION: 'max_protocol_version',
  PGGSSENCMODE: 'gssencmode',
} as const;

/** A variable of the environment; null: not set. */
export type Lookup = (variable: string) => string | null;

export const LIBPQ_VARIABLES: readonly string[] = Object.keys(KEYWORD_OF);

/**
 * The URL with what libpq takes from its environment where the URL says nothing, checked. The result needs no environment, so
 * threads and further sessions mean the same by it.
 *
 * @throws DatabaseUrlError, which names the variables that took part
 */
export function completeDatabaseUrl(url: string, lookup: Lookup): string {
  const given = readKeywords(url);
  const more: Keywords = new Map();
  const variables: string[] = [];
  for (const [variable, keyword] of Object.entries(KEYWORD_OF)) {
    const value = lookup(variable);
    if (value === null || value === '' || (given.get(keyword) ?? '') !== '') continue;
    more.set(keyword, value);
    variables.push(variable);
  }
  const completed = withKeywords(url, more);
  try {
    parseDatabaseUrl(completed);
  } catch (error) {
    if (!(error instanceof DatabaseUrlError) || variables.length === 0) throw error;
    throw new DatabaseUrlError(`${error.problem} (with ${variables.join(', ')} of the environment)`);
  }
  return completed;
}
