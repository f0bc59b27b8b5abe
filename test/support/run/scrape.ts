/** One line of what a Prometheus would read. */
interface Sample {
  name: string;
  labels: Readonly<Record<string, string>>;
  value: number;
}

const SERIES = /^(\w+)(?:\{(.*)\})? (\S+)$/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;

/** What a program serves on /metrics at one moment. */
export class Scrape {
  readonly #samples: readonly Sample[];

  constructor(text: string) {
    this.#samples = text.split('\n').flatMap((line) => {
      const [, name, labels = '', value] = SERIES.exec(line) ?? [];
      if (name === undefined || value === undefined) return [];
      const pairs = [...labels.matchAll(LABEL)].map(([, label, text]) => [label, text] as const);
      return [{ name, labels: Object.fromEntries(pairs), value: Number(value) }];
    });
  }

  /** Rejects while nobody listens on the port of loopback. */
  static async of(port: number): Promise<Scrape> {
    const answer = await fetch(`http://127.0.0.1:${port}/metrics`);
    if (!answer.ok) throw new Error(`/metrics answers ${answer.status}`);
    return new Scrape(await answer.text());
  }

  /** Of the series of this name that have these labels; there must be one at least. */
  values(name: string, labels: Readonly<Record<string, string>> = {}): number[] {
    const found = this.#samples.filter(
      (sample) =>
        sample.name === name &&
        Object.entries(labels).every(([label, text]) => sample.labels[label] === text),
    );
    if (found.length === 0) throw new Error(`no series ${name} ${JSON.stringify(labels)}`);
    return found.map(({ value }) => value);
  }

  sum(name: string, labels: Readonly<Record<string, string>> = {}): number {
    return this.values(name, labels).reduce((sum, value) => sum + value, 0);
  }
}
