/** Finds variables that look like ours and are not: a misspelt name would otherwise be a setting without effect. */
import { LIBPQ_VARIABLES } from '../../store/postgres/conninfo/environment.ts';
import { ENV_FILE, VARIABLE_KEYS, VARIABLES } from './variables.ts';

/** First words that nothing else in an environment is likely to use. */
const FAMILIES =
  /^(CONTINUUM|BATCH|BUFFER|GRPC|TICK|CHAIN|STALL|REORDER|FLUSH|RETENTION|BARS|DEAD_?LETTER|DB|DATABASE|READ_DATABASE|START_TICK|WORKER|HEALTH|OUTPUT|STAGE|STREAMING|API|METRICS|EXPORT)(_|S_|[A-Z]*$)/;

/** Variables that Kubernetes and docker links set for a service of the same name. */
const SERVICE_LINK = /_SERVICE_(HOST|PORT)|_PORT(_\d+_(TCP|UDP).*)?$|_ENV_|_NAME$/;

/** What Node and libraries of ours read from the environment themselves; @grpc/grpc-js names its own like ours. */
const READ_BELOW =
  /^(?:GRPC_(?:DEFAULT_SSL_ROOTS_FILE_PATH|SSL_CIPHER_SUITES|(?:NODE_)?(?:TRACE|VERBOSITY)|NODE_USE_ALTERNATIVE_RESOLVER|NODE_DEBUG_SEND_ERROR_DETAILS|EXPERIMENTAL_ENABLE_OUTLIER_DETECTION)|NODE_[A-Z_]+|UV_THREADPOOL_SIZE|SSL_CERT_(?:FILE|DIR)|(?:no_grpc|grpc|no|https?)_proxy|TZ)$/;

/** Edit distance up to which any name counts as one of ours misspelt: one edit per four letters, two at most. */
const distanceMax = (name: string): number => Math.min(2, Math.floor(name.length / 4));

const KNOWN = [...VARIABLE_KEYS.map((key) => VARIABLES[key].name), ENV_FILE];

/** Warnings for names of the real environment that are close to ours, and for every unknown name of the file. */
export function unknownNames(
  environment: Iterable<string>,
  file: Iterable<string>,
  fileName: string,
): string[] {
  const warnings: string[] = [];
  const inFile = new Set(file);
  const real = new Set(environment);
  for (const name of new Set([...real, ...inFile])) {
    if (KNOWN.includes(name) || LIBPQ_VARIABLES.includes(name)) continue;
    if (READ_BELOW.test(name)) {
      // systemd and docker pass such a file on as the environment: then it has its effect
      if (!real.has(name))
        warnings.push(`${name} has no effect inside ${fileName}; it is read from the environment`);
      continue;
    }
    const near = nearest(name);
    const looksLikeOurs =
      near.distance <= distanceMax(name) || (FAMILIES.test(name) && !SERVICE_LINK.test(name));
    if (!inFile.has(name) && !looksLikeOurs) continue;
    const where = inFile.has(name) ? ` in ${fileName}` : '';
    const hint = near.distance <= name.length / 3 ? `; did you mean ${near.name}?` : '';
    warnings.push(`${name}${where} is no variable of this program and has no effect${hint}`);
  }
  if (inFile.has(ENV_FILE))
    warnings.push(`${ENV_FILE} has no effect inside ${fileName}; it is read from the environment`);
  return warnings;
}

function nearest(name: string): { name: string; distance: number } {
  let best = { name: '', distance: Infinity };
  for (const known of KNOWN) {
    const distance = editDistance(plain(name), plain(known));
    if (distance < best.distance) best = { name: known, distance };
  }
  return best;
}

function plain(name: string): string {
  return name.toUpperCase().replaceAll('_', '');
}

/** Minimum number of insertions, deletions and replacements (Levenshtein). */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, row[j] + 1, next[j - 1] + 1));
    }
    row = next;
  }
  return row[b.length];
}
