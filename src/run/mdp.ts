import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { registerDb } from './cli/db.ts';
import { readVariable } from './config.ts';

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

const program = new Command('mdp')
  .description('mdp, the Market Data Pipeline: operations around the tick-ingester')
  .version(version);
registerDb(program, { databaseUrl: readVariable('DATABASE_URL') ?? undefined });
await program.parseAsync();
