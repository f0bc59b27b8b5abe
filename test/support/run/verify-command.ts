import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** What `tick-ingester verify --json` prints; ticks are strings, counts numbers. */
export interface VerifyJson {
  ok: boolean;
  from: string;
  to: string;
  vdf: string;
  ticks: number;
  transactions: number;
  vdf_outputs: number;
  seconds: number;
  ticks_per_second: number;
  first_bad: JsonFinding | null;
  kinds: Record<string, { ticks: number; first: JsonFinding | null }>;
  missing: Record<string, number>;
  findings: JsonFinding[];
}

export interface JsonFinding {
  tick: string;
  last: string;
  kind: string;
  detail: string;
}

export interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

const PROGRAM = fileURLToPath(new URL('../../../dist/run/tick-ingester.js', import.meta.url));

/** `tick-ingester verify` as it ships. */
export function verifyCommand(
  databaseUrl: string | null,
  args: readonly string[] = [],
  env: Record<string, string> = {},
): Promise<Ended> {
  const child = spawn(process.execPath, [PROGRAM, 'verify', ...args], {
    env: {
      PATH: process.env['PATH'] ?? '',
      ENV_FILE: '/dev/null',
      ...(databaseUrl === null ? {} : { DATABASE_URL: databaseUrl }),
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended: Ended = { code: null, stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => (ended.stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (ended.stderr += text));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ ...ended, code }));
  });
}

/** The same with --json, read. @throws Error when it printed none */
export async function verifyJson(
  databaseUrl: string,
  args: readonly string[] = [],
): Promise<Ended & { json: VerifyJson }> {
  const ended = await verifyCommand(databaseUrl, [...args, '--json']);
  if (ended.stdout === '') throw new Error(`verify ended with ${ended.code}: ${ended.stderr}`);
  return { ...ended, json: JSON.parse(ended.stdout) as VerifyJson };
}

/** `tick kind` of each finding, in order. */
export function found({ findings }: VerifyJson): string[] {
  return findings.map(({ tick, kind }) => `${tick} ${kind}`);
}
