import { databaseUrlSecrets } from '../../store/postgres/conninfo/keywords.ts';

/** Takes secrets out of a text; the same function serves log lines, errors and the description of the configuration. */
export type Redact = (text: string) => string;

const HIDDEN = '***';

/** How far a URL extends in a line. */
const WORD = /[^\s"<>]+/g;
/** libpq strings and query parameters: password=…, sslpassword=…, token=… */
const KEY_VALUE = /\b((?:ssl)?password|passwd|pwd|token|secret|api_?key)=(?:'[^']*'|[^\s&"',;]+)/gi;
/** "password":"…" in a line of JSON; the name is bounded, so that no text makes the search slow. */
const JSON_MEMBER =
  /("[^"\\]{0,40}(?:password|passwd|secret|token|authorization|api_?key)[^"\\]{0,40}":)"(?:[^"\\]|\\.)*"/gi;
const BEARER = /\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}/gi;

/** Shorter secrets would redact ordinary words; inside a URL they are found by its syntax. */
const LITERAL_MIN_CHARS = 6;

/** `secrets` are replaced wherever they occur, URL- or JSON-escaped too; the usual forms always are. */
export function createRedactor(secrets: readonly string[] = []): Redact {
  const literals = new Set<string>();
  for (const secret of secrets) {
    if (secret.length < LITERAL_MIN_CHARS) continue;
    literals.add(secret).add(encodeURIComponent(secret)).add(JSON.stringify(secret).slice(1, -1));
  }
  const longestFirst = [...literals].sort((a, b) => b.length - a.length);
  return (text) => {
    let clean = text;
    if (clean.includes('://')) clean = clean.replace(WORD, hidePassword);
    clean = clean
      .replace(JSON_MEMBER, `$1"${HIDDEN}"`)
      .replace(KEY_VALUE, `$1=${HIDDEN}`)
      .replace(BEARER, `$1 ${HIDDEN}`);
    for (const literal of longestFirst) clean = clean.replaceAll(literal, HIDDEN);
    return clean;
  };
}

/**
 * user:password@ of a URL, up to the last @ of the word: passwords often hold an @ or a / that should have been
 * escaped. A word of several URLs loses everything between them: better too much than too little.
 */
function hidePassword(word: string): string {
  const at = word.lastIndexOf('@');
  for (let start = word.indexOf('://'); start >= 0 && start < at; start = word.indexOf('://', start + 3)) {
    const user = /^[^:/]*:/.exec(word.slice(start + 3, at))?.[0];
    if (user !== undefined) return `${word.slice(0, start + 3)}${user}${HIDDEN}${word.slice(at)}`;
  }
  return word;
}

/** The secret parts of a connection URL, as written and decoded; none when its password is a word of the URL itself. */
export function urlSecrets(url: string): string[] {
  if (/^postgres(ql)?:/.test(url)) return databaseUrlSecrets(url);
  const parsed = URL.parse(url);
  if (parsed === null) return [];
  const words = [parsed.username, parsed.hostname, parsed.pathname.slice(1), parsed.protocol.slice(0, -1)];
  const passwords = [parsed.password, parsed.searchParams.get('password') ?? ''];
  return passwords
    .filter((password) => password !== '' && !words.includes(password))
    .flatMap((password) => [password, decode(password)]);
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
