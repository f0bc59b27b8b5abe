import { InvalidArgumentError, type Command } from 'commander';
import { createHash, randomBytes } from 'node:crypto';
import type { Client } from 'pg';
import { SCOPES, type Scope } from '../../../serve/api/access.ts';
import {
  createToken,
  listTokens,
  revokeTokens,
  TOKENS_MAX,
  type TokenInfo,
} from '../../../store/api-tokens.ts';
import { duration, label } from '../../config/parsers.ts';
import { runOnDatabase } from '../database.ts';
import { printable, tableLines, type Print, type TableColumn } from '../text.ts';

const APPLICATION = 'mdp tokens';
/** So that a scanner of leaked secrets, and a person, knows what it is. */
const PREFIX = 'mdp_';
const RANDOM_BYTES = 32;
/** Names that log lines have for others. */
const RESERVED = new Set(['anonymous', 'api_token']);
const LIFE = duration('1m', '87600h', { days: true });

interface CreateArguments {
  scope: readonly Scope[];
  expires?: number;
  json?: true;
}

export interface TokensEnvironment {
  /** DATABASE_URL */
  databaseUrl?: string | undefined;
}

/** `mdp tokens create|list|revoke`: who may use the API. */
export function registerTokens(program: Command, env: TokensEnvironment): void {
  const tokens = program
    .command('tokens')
    .description('tokens of the API: each may do what its scopes say, until it expires or is revoked');

  tokens
    .command('create')
    .description('make a token and print it: it is shown once, the database keeps its SHA-256 alone')
    .argument(
      '<name>',
      'whose it is, for logs and lists: letters, digits, dots, hyphens, underscores',
      tokenName,
    )
    .requiredOption(
      '--scope <scopes>',
      `what it may do, separated by commas: ${SCOPES.join(', ')} (admin: everything)`,
      scopeList,
    )
    .option(
      '--expires <time>',
      'how long it is valid, such as 90d or 12h (default: until it is revoked)',
      lifeMs,
    )
    .option('--json', 'one JSON object with the token (default: the token alone on stdout)')
    .addHelpText(
      'after',
      help(
        'mdp tokens create feeder --scope ingest --expires 90d',
        'To rotate it: create a second one of the same name, give it to the sender, then revoke the first. A name has two valid tokens at most.',
      ),
    )
    .action((name: string, options: CreateArguments, command: Command) =>
      runOnDatabase(command, env.databaseUrl, APPLICATION, (client, print) =>
        runCreate(client, name, options, print),
      ),
    );

  tokens
    .command('list')
    .description('list the tokens, the newest first; nothing of their values')
    .option('--all', 'expired and revoked ones too (default: those that are valid)')
    .option('--json', 'NDJSON: one object a token (default: a table)')
    .addHelpText('after', help('mdp tokens list --all'))
    .action((options: { all?: true; json?: true }, command: Command) =>
      runOnDatabase(command, env.databaseUrl, APPLICATION, async (client, print) => {
        printTokens(await listTokens(client, options.all === true), options.json === true, print);
        return null;
      }),
    );

  tokens
    .command('revoke')
    .description('end a token; the API refuses it within five seconds')
    .argument('<name-or-id>', 'as "mdp tokens list" shows it')
    .option('--all', 'every token of that name, where there are two (default: off)')
    .option('--json', 'NDJSON: one object a token (default: one line a token)')
    .addHelpText('after', help('mdp tokens revoke 7'))
    .action((given: string, options: { all?: true; json?: true }, command: Command) =>
      runOnDatabase(command, env.databaseUrl, APPLICATION, (client, print) =>
        runRevoke(client, given, options, print),
      ),
    );
}

async function runCreate(
  client: Client,
  name: string,
  { scope, expires, json }: CreateArguments,
  print: Print,
): Promise<string | null> {
  const token = `${PREFIX}${randomBytes(RANDOM_BYTES).toString('base64url')}`;
  const hash = createHash('sha256').update(token).digest();
  const made = await createToken(client, { name, hash, scopes: scope, lifeMs: expires ?? null });
  if ('refused' in made) {
    if (made.refused === 'all')
      return `there are ${TOKENS_MAX} valid tokens, and no room for more: revoke those that nobody uses ("mdp tokens list")`;
    const [newer, older] = made.valid;
    return `${name} has two valid tokens (${older.id} and ${newer.id}), one to be used and one to follow it: revoke the one that is not used any more, such as "mdp tokens revoke ${older.id}", then create the new one`;
  }
  print(json === true ? JSON.stringify({ ...made, token }) : token);
  return null;
}

async function runRevoke(
  client: Client,
  given: string,
  { all, json }: { all?: true; json?: true },
  print: Print,
): Promise<string | null> {
  const valid = await listTokens(client, false);
  const chosen = valid.filter(({ id, name }) => String(id) === given || name === given);
  if (chosen.length === 0)
    return `no valid token is called ${printable(given)}: "mdp tokens list --all" shows all that there are`;
  if (chosen.length > 1 && all !== true)
    return `${printable(given)} has ${chosen.length} valid tokens: name one by its id (${chosen.map(({ id }) => id).join(' or ')}), or add --all`;
  const revoked = await revokeTokens(
    client,
    chosen.map(({ id }) => id),
  );
  for (const token of revoked)
    print(json === true ? JSON.stringify(token) : `revoked ${token.id} (${token.name})`);
  return null;
}

const COLUMNS: readonly TableColumn[] = [
  { title: 'id', align: 'right' },
  ...['name', 'scopes', 'state', 'created', 'expires', 'last used'].map((title) => ({
    title,
    align: 'left' as const,
  })),
];

function printTokens(tokens: readonly TokenInfo[], isJson: boolean, print: Print): void {
  if (isJson) {
    for (const token of tokens) print(JSON.stringify(token));
    return;
  }
  const rows = tokens.map(({ id, name, scopes, state, created_at, expires_at, last_used_at }) => [
    String(id),
    name,
    scopes.join(','),
    state,
    created_at,
    expires_at ?? 'never',
    last_used_at ?? 'never',
  ]);
  for (const line of tableLines(COLUMNS, rows)) print(line);
}

function tokenName(text: string): string {
  try {
    const name = label.parse(text, '');
    if (/^\d+$/.test(name)) throw new RangeError('is a number, which would be taken for an id');
    if (RESERVED.has(name.toLowerCase()))
      throw new RangeError('is a name that the logs have for something else');
    return name;
  } catch (error) {
    throw new InvalidArgumentError(
      `It ${(error as RangeError).message}: ${label.allowed}, not digits alone.`,
    );
  }
}

function scopeList(text: string): Scope[] {
  const words = text.split(',').map((word) => word.trim());
  const known = SCOPES.filter((scope) => words.includes(scope));
  const unknown = words.filter((word) => !SCOPES.some((scope) => scope === word));
  if (unknown.length > 0) throw new InvalidArgumentError(`Known scopes: ${SCOPES.join(', ')}.`);
  return known;
}

function lifeMs(text: string): number {
  try {
    return LIFE.parse(text, '');
  } catch (error) {
    throw new InvalidArgumentError(`It ${(error as RangeError).message}: ${LIFE.allowed}.`);
  }
}

function help(example: string, more = ''): string {
  const explained = more === '' ? '' : `\n${more}`;
  return `
Example:
  $ ${example}
${explained}
Exit codes: 0 done, 1 failed or refused, 2 a mistake in the command line.
The database is named by DATABASE_URL (no default).`;
}
