export type Labels = Readonly<Record<string, string>>;

/** Where stages report their figures; names and labels as in the table of metrics of src/run. */
export interface Meter {
  /** counters: `by` defaults to 1 */
  count(name: string, labels: Labels, by?: number): void;
  /** gauges */
  set(name: string, labels: Labels, value: number): void;
  /** histograms and summaries */
  observe(name: string, labels: Labels, value: number): void;
}
