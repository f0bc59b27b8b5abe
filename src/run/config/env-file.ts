/** Files of KEY=VALUE lines, in the form that a shell, systemd's EnvironmentFile and docker's --env-file agree on. */

export interface EnvFile {
  values: Map<string, { value: string; line: number }>;
  /** lines that could not be read, by number and reason; never their text */
  problems: { line: number; problem: string }[];
}

/**
 * Reads KEY=VALUE lines: blank lines and lines that begin with # are skipped, `export ` before a name is tolerated,
 * one pair of quotes around a value is removed, a comment behind an unquoted value is dropped as a shell does. Nothing
 * is expanded and nothing spans lines. For a repeated name the last value wins.
 */
export function parseEnvFile(text: string): EnvFile {
  const file: EnvFile = { values: new Map(), problems: [] };
  const lines = text.replace(/^\ufeff/, '').split(/\r?\n/);
  for (const [index, raw] of lines.entries()) {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) continue;
    const assignment = /^(?:export\s+)?([^=\s]*)\s*=\s*(.*)$/.exec(line);
    if (assignment === null) {
      file.problems.push({ line: index + 1, problem: 'is not KEY=VALUE' });
    } else if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(assignment[1])) {
      file.problems.push({ line: index + 1, problem: 'has no usable name before =' });
    } else {
      file.values.set(assignment[1], { value: readValue(assignment[2]), line: index + 1 });
    }
  }
  return file;
}

/** One pair of equal quotes around a value is removed: docker's --env-file leaves them in the environment. */
export function unquote(value: string): string {
  const trimmed = value.trim();
  const first = trimmed[0];
  const quoted = trimmed.length >= 2 && (first === '"' || first === "'") && trimmed.endsWith(first);
  return quoted ? trimmed.slice(1, -1) : trimmed;
}

function readValue(text: string): string {
  const quoted = /^(["'])(.*?)\1\s*(?:#.*)?$/.exec(text);
  if (quoted !== null) return quoted[2];
  return text.startsWith('#') ? '' : text.replace(/\s+#.*$/, '');
}
