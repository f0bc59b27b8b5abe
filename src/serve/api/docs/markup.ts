/** Text that is HTML already. */
export class Html {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

type Part = Html | string | number | null | readonly Html[];

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** HTML in which whatever is put in stays text. */
export function markup(strings: TemplateStringsArray, ...parts: readonly Part[]): Html {
  let text = strings[0];
  for (const [at, part] of parts.entries()) text += asHtml(part) + strings[at + 1];
  return new Html(text);
}

function asHtml(part: Part): string {
  if (part === null) return '';
  if (part instanceof Html) return part.text;
  if (typeof part === 'object') return part.map(({ text }) => text).join('');
  return String(part).replace(/[&<>"']/g, (character) => ESCAPES[character]);
}

/** `text` in backticks becomes code; everything else is text. */
export function prose(text: string): Html {
  const parts = text.split('`');
  return new Html(
    parts.map((part, at) => (at % 2 === 1 ? markup`<code>${part}</code>` : markup`${part}`).text).join(''),
  );
}
