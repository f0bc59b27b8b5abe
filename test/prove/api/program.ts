import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CONTENT } from '../../support/api/content.ts';
import { ask, type Answer, type Asked } from '../../support/api/server.ts';
import { migrateAll, withClient } from '../../support/bus/postgres-bus.ts';
import { Program } from '../../support/run/program.ts';
import { until } from '../../support/until.ts';

export interface ServedApi {
  port: number;
  url: string;
  /** what it logged, each as its line */
  lines: string[];
  program: Program;
  databaseUrl: string;
  /** with API_TOKEN where nothing else is given */
  ask(asked: Asked): Promise<Answer>;
  stop(): Promise<void>;
}

export const API_TOKEN = 'canary-token-of-more-than-32-characters';
export const HMAC_SECRET = 'canary-secret-of-more-than-32-characters';

/** `mdp serve` as its own program, on a database with a few rows of everything; the bus is in it too. */
export async function serveApi(
  databaseUrl: string,
  options: { settings?: string; env?: Record<string, string> } = {},
): Promise<ServedApi> {
  await migrateAll(databaseUrl);
  await withClient(databaseUrl, async (client) => {
    for (const statement of CONTENT) await client.query(statement);
  });
  const folder = await mkdtemp(join(tmpdir(), 'mdp-serve-'));
  const config = join(folder, 'streaming.yaml');
  await writeFile(config, `version: 1\nbus:\n  type: postgres\n${options.settings ?? ''}`);
  const lines: string[] = [];
  let address: string | null = null;
  const program = new Program(
    'mdp',
    ['serve', '--config', config, '--metrics-port', '0'],
    {
      DATABASE_URL: databaseUrl,
      API_TOKEN,
      API_PORT: '0',
      WEBHOOK_HMAC_KEYS: `feeder:${HMAC_SECRET}`,
      ...options.env,
    },
    (line) => {
      lines.push(JSON.stringify(line));
      if (line['msg'] === 'The API is served') address = String(line['address']);
    },
  );
  const stop = async (): Promise<void> => {
    await program.kill();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await until('the API is served', () => {
      if (program.end !== null) throw new Error(`mdp serve ended\n${program.tail}`);
      return address;
    });
  } catch (error) {
    await stop();
    throw error;
  }
  const url = String(address);
  const port = Number(new URL(url).port);
  const authorization = `Bearer ${API_TOKEN}`;
  return {
    port,
    url,
    lines,
    program,
    databaseUrl,
    ask: (asked) => ask(port, { ...asked, headers: { authorization, ...asked.headers } }),
    stop,
  };
}
