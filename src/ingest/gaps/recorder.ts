import type { Env, LogLine } from '../../core/env.ts';
import { GapWatch } from '../../core/ingest/gap-watch.ts';
import { RangeSet, type TickRange } from '../../core/ingest/ranges.ts';
import type { FillReport, TriedRange } from './report.ts';

/** Writes under the fence of an epoch; rejects when the write failed. */
export interface FillingRecorder {
  recordFilling(report: FillReport, epoch: bigint): Promise<void>;
}

/** Maximum ranges written in one transaction. */
const RECORD_MAX = 500;

/**
 * Keeps the main thread's record of gaps: writes the filler's reports to the store, at most one transaction per report,
 * and logs each gap when it is filled or given up.
 */
export class GapRecorder {
  readonly #recorder: FillingRecorder;
  readonly #gaveUp: (range: TickRange) => void;
  readonly #log: LogLine;
  #run = 0;
  #epoch = 0n;
  #watch = new GapWatch([]);
  /** given up, but not yet recorded as such */
  #unfillable = new RangeSet();
  #recording = false;

  /** gaveUp: called when the store has recorded a range as given up. */
  constructor(recorder: FillingRecorder, gaveUp: (range: TickRange) => void, { log }: Pick<Env, 'log'>) {
    this.#recorder = recorder;
    this.#gaveUp = gaveUp;
    this.#log = log;
  }

  /** A run of the reader starts from the stored gaps. */
  began(run: number, epoch: bigint, openGaps: readonly TickRange[]): void {
    this.#run = run;
    this.#epoch = epoch;
    this.#watch = new GapWatch(openGaps);
    this.#unfillable = new RangeSet();
  }

  /** A batch was committed. */
  committed(batch: { range: TickRange | null; gaps: readonly TickRange[]; fills: boolean }): void {
    for (const gap of batch.gaps) this.#watch.add(gap);
    if (!batch.fills || batch.range === null) return;
    const { first, last } = batch.range;
    const expected = new RangeSet(this.#watch.openWithin(batch.range));
    for (const { first: from, last: to } of expected.missing({ first, last })) {
      this.#log('info', 'Ticks that were given up came after all', { first_tick: from, last_tick: to });
    }
    this.#unfillable.remove(batch.range);
    this.#close(batch.range, 'filled');
  }

  async report(run: number, { tried, unfillable }: FillReport): Promise<void> {
    if (run !== this.#run) return;
    for (const range of unfillable) this.#unfillable.add(range);
    await this.#record(tried);
  }

  /** Reports that could not be written before. */
  async retry(): Promise<void> {
    if (this.#unfillable.size > 0) await this.#record([]);
  }

  async #record(tried: readonly TriedRange[]): Promise<void> {
    if (this.#recording) return;
    this.#recording = true;
    try {
      await this.#recordOnce(this.#run, tried);
    } catch {
      // the writers and the lease report the database's state; given-up ranges are reported again
    } finally {
      this.#recording = false;
    }
  }

  async #recordOnce(run: number, tried: readonly TriedRange[]): Promise<void> {
    // a gap whose batch is not committed yet has no row
    const unfillable = this.#unfillable.list().flatMap((range) => this.#watch.openWithin(range));
    const report = { tried: tried.slice(0, RECORD_MAX), unfillable: unfillable.slice(0, RECORD_MAX) };
    if (report.tried.length + report.unfillable.length === 0) return;
    await this.#recorder.recordFilling(report, this.#epoch);
    if (run !== this.#run) return;
    for (const range of report.unfillable) {
      this.#unfillable.remove(range);
      this.#gaveUp(range);
      const { first, last } = range;
      this.#log('warn', 'Gap given up: the sequencer does not have it', {
        first_tick: first,
        last_tick: last,
      });
      this.#close(range, 'unfillable');
    }
  }

  #close(range: TickRange, outcome: 'filled' | 'unfillable'): void {
    for (const { first, last, filled, unfillable } of this.#watch.close(range, outcome)) {
      if (filled === 0n) continue;
      const fields = { first_tick: first, last_tick: last, ticks: filled };
      this.#log('info', 'Gap filled', unfillable === 0n ? fields : { ...fields, given_up: unfillable });
    }
  }
}
