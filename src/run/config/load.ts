/** The daemon's configuration from the environment and its file. The only reader of process.env. */
import { readFileSync } from 'node:fs';
import { totalmem } from 'node:os';
import { resolve } from 'node:path';
import type { Lookup } from '../../store/postgres/conninfo/environment.ts';
import type { DatabaseTarget, GrpcEndpoint } from './addresses.ts';
import { checkValues, type Draft, errorCode, grpcEndpoint, type Problem } from './checks.ts';
import { unknownNames } from './misspelt.ts';
import { ENV_FILE, type Values, type VariableKey, VARIABLE_KEYS, VARIABLES } from './variables.ts';
import { parseEnvFile, unquote } from './env-file.ts';
import { createRedactor } from './redact.ts';
import { isServiceLink } from './service-link.ts';

const DEFAULT_ENV_FILE = '.env.ingester';
const SHOWN_CHARS_MAX = 80;

type RawGrpcKey = 'grpcUrl' | 'grpcTlsCaFile' | 'grpcTlsCertFile' | 'grpcTlsKeyFile' | 'grpcTlsServerName';

/** Every setting, checked. Durations are milliseconds, sizes bytes, null = unset. */
export interface Config extends Omit<Values, RawGrpcKey | 'dbMigrate'> {
  /** null only when the stage ingest is off */
  grpc: GrpcEndpoint | null;
  /** null only with OUTPUT_MODE=console */
  database: DatabaseTarget | null;
  dbMigrate: 'auto' | 'off';
  /** absolute path of the file that was read */
  envFile: string | null;
  /** systemd's notify protocol; both null outside a unit */
  notify: { socket: string | null; watchdogMs: number | null };
  /** NO_COLOR is set: human-readable logs stay plain even on a terminal */
  noColor: boolean;
  /** to be logged at start */
  warnings: readonly string[];
}

export interface ConfigSources {
  env: Readonly<Record<string, string | undefined>>;
  /** absolute; relative paths of variables are below it */
  cwd: string;
  /** text of a file, or an error with a code, as readFileSync */
  readFile: (path: string) => string;
  /** what the process may use: the machine's memory, or what its cgroup (a container, a unit) is limited to */
  memoryBytes: number;
}

/** Every mistake at once. The program that catches it prints the message and exits with 2. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    const lines = problems.map(
      ({ variable, problem, allowed }) =>
        `  ${variable} ${problem}${allowed === '' ? '' : `; allowed: ${allowed}`}`,
    );
    super(
      `${problems.length === 1 ? 'A mistake' : `${problems.length} mistakes`} in the configuration:\n${lines.join('\n')}`,
    );
    this.problems = problems;
  }
}

/** @throws ConfigError with everything that is wrong, never with the value of a secret */
export function loadConfig(sources: Partial<ConfigSources> = {}): Config {
  const { env, cwd, readFile, memoryBytes } = withDefaults(sources);
  const problems: Problem[] = [];
  const warnings: string[] = [];
  const file = readEnvFile({ env, cwd, readFile, memoryBytes }, problems, warnings);
  const draft = parseAll(env, file, cwd, { problems, warnings });
  checkValues(draft, readFile, memoryBytes);
  const grpc = grpcEndpoint(draft);
  if (problems.length > 0) throw new ConfigError(problems);
  warnings.push(...unknownNames(Object.keys(env), file.values.keys(), file.name));
  const {
    grpcUrl: _url,
    grpcTlsCaFile: _ca,
    grpcTlsCertFile: _cert,
    grpcTlsKeyFile: _key,
    ...rest
  } = draft.values;
  const { grpcTlsServerName: _name, ...values } = rest;
  return {
    ...values,
    grpc,
    dbMigrate: values.dbMigrate ?? (values.database?.kind === 'embedded' ? 'auto' : 'off'),
    envFile: file.path,
    notify: readNotify(env),
    noColor: (env['NO_COLOR'] ?? '') !== '',
    warnings,
  };
}

/** One variable by the same rules, for programs that do not need the whole configuration; null = unset. Not validated. */
export function readVariable(name: string, sources: Partial<ConfigSources> = {}): string | null {
  return variables(sources)(name);
}

/** All of them. @throws ConfigError when the file cannot be read */
export function variables(sources: Partial<ConfigSources> = {}): Lookup {
  const complete = withDefaults(sources);
  const problems: Problem[] = [];
  const file = readEnvFile(complete, problems, []);
  if (problems.length > 0) throw new ConfigError(problems);
  return lookupIn(complete.env, file);
}

/** One setting, checked, its default included. @throws ConfigError */
export function readSetting<K extends VariableKey>(key: K, sources: Partial<ConfigSources> = {}): Values[K] {
  const { cwd } = withDefaults(sources);
  const { name, parser, initial, secret } = VARIABLES[key];
  const lookup = variables(sources);
  const text = lookup(name) ?? initial;
  try {
    return (text === null ? null : parser.parse(text, cwd, lookup)) as Values[K];
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const shown = secret ? '(value not shown)' : `= ${quote(text ?? '')}`;
    throw new ConfigError([
      { variable: name, problem: `${shown} ${error.message}`, allowed: parser.allowed },
    ]);
  }
}

interface ReadEnvFile {
  /** its name in messages */
  name: string;
  path: string | null;
  values: ReadonlyMap<string, { value: string; line: number }>;
}

function readEnvFile(sources: ConfigSources, problems: Problem[], warnings: string[]): ReadEnvFile {
  const named = unquote(sources.env[ENV_FILE] ?? '');
  const name = named === '' ? DEFAULT_ENV_FILE : named;
  const path = resolve(sources.cwd, name);
  let text: string;
  try {
    text = sources.readFile(path);
  } catch (error) {
    const code = errorCode(error);
    if (named !== '') {
      problems.push({
        variable: ENV_FILE,
        problem: `names ${path}, which cannot be read (${code})`,
        allowed: 'a readable file',
      });
    } else if (code !== 'ENOENT') {
      // A unit's EnvironmentFile may be readable only by root: systemd has already passed its values on.
      warnings.push(`${path} exists but cannot be read (${code}); only the environment counts`);
    }
    return { name, path: null, values: new Map() };
  }
  const file = parseEnvFile(text);
  for (const { line, problem } of file.problems) {
    problems.push({
      variable: `${name} line ${line}`,
      problem,
      allowed: 'KEY=VALUE, or a comment that begins with #',
    });
  }
  return { name, path, values: file.values };
}

function parseAll(
  env: ConfigSources['env'],
  file: ReadEnvFile,
  cwd: string,
  lists: Pick<Draft, 'problems' | 'warnings'>,
): Draft {
  const values: Partial<Record<VariableKey, unknown>> = {};
  const given = new Set<VariableKey>();
  const failed = new Set<VariableKey>();
  for (const key of VARIABLE_KEYS) {
    const { name, parser, initial, secret } = VARIABLES[key];
    values[key] = initial === null ? null : parser.parse(initial, cwd);
    const real = unquote(env[name] ?? '');
    if (isServiceLink(name, real)) {
      lists.warnings.push(
        `${name} = ${quote(real)} is the address of a service, as Kubernetes and docker links set it, and no port of ours: it counts as unset`,
      );
    }
    const written = writtenValue(name, env, file);
    if (written === null) continue;
    given.add(key);
    try {
      values[key] = parser.parse(written.text, cwd, lookupIn(env, file));
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      failed.add(key);
      const shown = secret ? '(value not shown)' : `= ${quote(written.text)}`;
      lists.problems.push({
        variable: name,
        problem: `${shown}${written.where} ${error.message}`,
        allowed: parser.allowed,
      });
    }
  }
  return { values: values as Values, given, failed, ...lists };
}

/** The real environment wins; an empty value counts as unset, and so does what the platform put there. */
function writtenValue(
  name: string,
  env: ConfigSources['env'],
  file: ReadEnvFile,
): { text: string; where: string } | null {
  const real = unquote(env[name] ?? '');
  if (real !== '' && !isServiceLink(name, real)) return { text: real, where: '' };
  const inFile = file.values.get(name);
  if (inFile === undefined || inFile.value === '') return null;
  return { text: inFile.value, where: ` (${file.name} line ${inFile.line})` };
}

function lookupIn(env: ConfigSources['env'], file: ReadEnvFile): Lookup {
  return (name) => writtenValue(name, env, file)?.text ?? null;
}

function quote(text: string): string {
  const short = text.length > SHOWN_CHARS_MAX ? `${text.slice(0, SHOWN_CHARS_MAX)}…` : text;
  // user:password@ before a host is no secret by the table, but may well be one.
  return JSON.stringify(createRedactor()(short).replace(/^.*@/s, '***@'));
}

function readNotify(env: ConfigSources['env']): Config['notify'] {
  const watchdogMicros = Number(env['WATCHDOG_USEC'] ?? '');
  return {
    socket: env['NOTIFY_SOCKET'] === undefined || env['NOTIFY_SOCKET'] === '' ? null : env['NOTIFY_SOCKET'],
    watchdogMs: Number.isSafeInteger(watchdogMicros) && watchdogMicros > 0 ? watchdogMicros / 1000 : null,
  };
}

function withDefaults(sources: Partial<ConfigSources>): ConfigSources {
  return {
    env: sources.env ?? process.env,
    cwd: sources.cwd ?? process.cwd(),
    readFile: sources.readFile ?? ((path) => readFileSync(path, 'utf8')),
    memoryBytes: sources.memoryBytes ?? usableMemory(),
  };
}

function usableMemory(): number {
  const limit = process.constrainedMemory();
  // 0: none is known; without a limit it may be any large number
  return limit > 0 ? Math.min(limit, totalmem()) : totalmem();
}

/** Whether the environment names an S3 server of its own, as every program of AWS reads it: its buckets are part of the path. */
export function hasS3Endpoint(): boolean {
  return ['AWS_ENDPOINT_URL_S3', 'AWS_ENDPOINT_URL'].some((name) => (process.env[name] ?? '') !== '');
}
