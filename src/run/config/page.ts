import { configMarkdown } from './describe.ts';
import { streamingMarkdown } from './streaming/meanings.ts';

/** docs/configuration.md with its two tables regenerated; the text around them stays. */
export function configurationPage(text: string): string {
  return withTable(withTable(text, 'configuration', configMarkdown()), 'keys', streamingMarkdown());
}

/** @throws Error when the page has no markers for it */
function withTable(text: string, name: string, table: string): string {
  const begin = `<!-- ${name}:begin -->\n`;
  const end = `<!-- ${name}:end -->`;
  const from = text.indexOf(begin);
  const to = text.indexOf(end);
  if (from < 0 || to < from) throw new Error(`docs/configuration.md has no ${begin.trim()} … ${end}`);
  return text.slice(0, from + begin.length) + table + text.slice(to);
}
